"""The batches of the published StreamSpace: they change rows, and tell no agent."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.streamspace.published.api import PublishedRequest, Route, TableEntry
from vcloud.emulator.streamspace.published.reading import BodyError, Field, read
from vcloud.emulator.streamspace.published.refusals import Json, PublishedError
from vcloud.emulator.streamspace.published.space import Space
from vcloud.emulator.streamspace.published.times import stored

_SESSIONS: Final = (Field(name="sessionIds", go="SessionIDs", kind="[]string", required=True),)
_MESSAGES: Final = {
    "terminate": "Batch termination initiated",
    "hibernate": "Batch hibernation initiated",
    "wake": "Batch wake initiated",
}
_STATES: Final = {"hibernate": "hibernated", "wake": "running"}
MOST: Final = 1000
"""Jobs that are kept; the oldest are dropped."""


class Batches:
    """``/batch``."""

    def __init__(self, space: Space) -> None:
        """Change the sessions of `space`."""
        self._space = space
        self._jobs: dict[str, tuple[str, Json]] = {}

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return (
            ("POST", "/batch/sessions/terminate", Route(handler=self._terminate, status=202)),
            ("POST", "/batch/sessions/hibernate", Route(handler=self._hibernate, status=202)),
            ("POST", "/batch/sessions/wake", Route(handler=self._wake, status=202)),
            ("GET", "/batch/jobs/{job_id}", Route(handler=self._job)),
        )

    def _terminate(self, request: PublishedRequest) -> Json:
        return self._run(request, "terminate")

    def _hibernate(self, request: PublishedRequest) -> Json:
        return self._run(request, "hibernate")

    def _wake(self, request: PublishedRequest) -> Json:
        return self._run(request, "wake")

    def _run(self, request: PublishedRequest, verb: str) -> Json:
        try:
            names = read(request.content, "", _SESSIONS)["sessionIds"]
        except BodyError as error:
            raise PublishedError(400, str(error)) from error
        if not names:
            raise PublishedError(400, "sessionIds cannot be empty")
        space, now = self._space, self._space.clock.now()
        changed = 0
        for name in names:
            session = space.sessions.get(name)
            if session is None or session.user != request.user.id:
                continue
            changed += 1
            if verb == "terminate":
                # The desktop goes on running.
                del space.sessions[name]
            else:
                session.enter(now, _STATES[verb])
        space.changes.notify()
        job_id = f"batchjob_{round(now * 1e9)}"
        at = stored(now, space.clock)
        self._jobs[job_id] = (
            request.user.id,
            {
                "id": job_id,
                "operationType": verb,
                "resourceType": "sessions",
                "status": "completed",
                "totalItems": len(names),
                "processedItems": len(names),
                "successCount": changed,
                "failureCount": len(names) - changed,
                "createdAt": at,
                "completedAt": at,
            },
        )
        if len(self._jobs) > MOST:
            del self._jobs[next(iter(self._jobs))]
        return {"jobId": job_id, "message": _MESSAGES[verb], "status": "running"}

    def _job(self, request: PublishedRequest) -> Json:
        job_id = request.params["job_id"]
        owner, job = self._jobs.get(job_id, ("", {}))
        if not job or owner != request.user.id:
            message = (
                f"Failed to retrieve batch job {job_id} for user {request.user.id}: "
                "sql: no rows in result set"
            )
            raise PublishedError(404, "Batch job not found", message=message)
        return job
