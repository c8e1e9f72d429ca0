"""StreamSpace against the emulator over real sockets: sessions, agents, templates, users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.integration.streamspace_refusals import DOCKER, KUBERNETES, REFUSALS
from vcloud import (
    APIError,
    BearerAuth,
    ConflictError,
    Endpoint,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RetryPolicy,
    TransportError,
    WaitFailed,
    WaitTimeout,
)
from vcloud._core.instances import Controllable, InstanceState
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.emulator.streamspace.catalog import STATES, TRANSITIONS, USER
from vcloud.providers.streamspace import (
    InvalidTransitionError,
    Platform,
    Resources,
    Session,
    SessionState,
    StreamSpace,
    StreamSpaceCode,
)

NO_RETRY = RetryPolicy(attempts=1)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(), rate_limits=False) as emulator:
        yield emulator


@pytest.fixture
async def admin(emulator: Emulator) -> AsyncIterator[StreamSpace]:
    async with StreamSpace(emulator.endpoints()["streamspace"]) as client:
        yield client.with_options(retry=NO_RETRY)


@pytest.fixture
async def john(emulator: Emulator) -> AsyncIterator[StreamSpace]:
    base_url = emulator.endpoints()["streamspace"].base_url
    login = BearerAuth.login(USER, emulator.streamspace.users[USER].password)
    async with StreamSpace(Endpoint(base_url, auth=login, retry=NO_RETRY)) as client:
        yield client


# -- a session's life ------------------------------------------------------------------------------


async def test_session_comes_up_hibernates_wakes_and_goes(
    emulator: Emulator, john: StreamSpace
) -> None:
    session = await john.sessions.create(
        USER, "firefox-browser", idle_timeout=timedelta(hours=2), tags=["project-alpha"]
    )
    assert (session.state, session.agent_id, session.idle_timeout) == (
        "pending",
        KUBERNETES,
        timedelta(hours=2),
    )
    emulator.clock.advance(7)
    assert (await session.refresh()).state is SessionState.PENDING
    emulator.clock.advance(1)
    running = await session.refresh()
    assert running.state is SessionState.RUNNING
    assert running.status is not None
    assert running.status.vnc_url == f"/vnc-viewer/{session.id}"
    hibernated = (await session.hibernate()).status
    assert hibernated is not None
    assert hibernated.phase == "Hibernated"
    assert (await session.start()).state is SessionState.RUNNING
    assert (await session.stop()).state is SessionState.TERMINATING
    emulator.clock.advance(5)
    assert (await session.refresh()).state is SessionState.TERMINATED


async def test_idle_session_hibernates_by_itself(emulator: Emulator, john: StreamSpace) -> None:
    session = await john.sessions.create(USER, "firefox-browser", idle_timeout=600)
    emulator.clock.advance(8 + 599)
    assert (await session.refresh()).state is SessionState.RUNNING
    emulator.clock.advance(1)
    assert (await session.refresh()).state is SessionState.HIBERNATED


async def test_fields_that_a_create_leaves_out_are_taken_from_the_template(
    john: StreamSpace,
) -> None:
    session = await john.sessions.create(USER, "vscode-dev", resources=Resources(cpu="3"))
    assert session.resources == Resources(memory="4Gi", cpu="3")
    assert (session.idle_timeout, session.persistent_home, session.tags) == (
        timedelta(hours=1),
        True,
        (),
    )


@pytest.mark.parametrize("after", ["hibernated", "running", "terminating", "terminated"])
@pytest.mark.parametrize("before", STATES)
async def test_only_the_documented_transitions_are_allowed(
    emulator: Emulator, john: StreamSpace, admin: StreamSpace, before: str, after: str
) -> None:
    id_ = emulator.streamspace.add_session(state=before).id
    ref = john.sessions.ref(id_)
    ways = {
        "hibernated": ref.hibernate,
        "running": ref.wake,
        "terminating": ref.terminate,
        "terminated": ref.force_terminate,
    }
    if after == "terminated":
        with pytest.raises(PermissionDeniedError):
            await ways[after]()
        assert (await admin.sessions.ref(id_).force_terminate()).state == after
    elif (before, after) in TRANSITIONS:
        assert (await ways[after]()).state == after
    elif before == "terminating":
        with pytest.raises(ConflictError) as conflict:
            await ways[after]()
        assert conflict.value.code is StreamSpaceCode.SESSION_TERMINATING
    else:
        with pytest.raises(InvalidTransitionError) as forbidden:
            await ways[after]()
        assert (forbidden.value.from_state, forbidden.value.to_state) == (before, after)


async def test_forbidden_transition_answered_with_422_is_the_same_error(
    emulator: Emulator, john: StreamSpace
) -> None:
    ref = john.sessions.ref(emulator.streamspace.add_session(state="terminated").id)
    emulator.faults.add("PATCH *", Fault.edit(lambda body: body, status=422))
    with pytest.raises(InvalidTransitionError) as forbidden:
        await ref.wake()
    assert (forbidden.value.status, forbidden.value.from_state, forbidden.value.to_state) == (
        422,
        "terminated",
        "running",
    )


async def test_delete_is_graceful_or_forced_and_can_be_repeated(
    emulator: Emulator, john: StreamSpace, admin: StreamSpace
) -> None:
    ref = john.sessions.ref(emulator.streamspace.add_session(state="hibernated").id)
    await ref.delete()
    await ref.delete()
    assert (await ref.refresh()).state is SessionState.TERMINATING
    with pytest.raises(PermissionDeniedError) as caught:
        await ref.delete(force=True)
    assert caught.value.code is StreamSpaceCode.AUTH_INSUFFICIENT_PERMISSIONS
    await admin.sessions.ref(ref.id).delete(force=True)
    assert (await ref.refresh()).state is SessionState.TERMINATED


async def test_waiting_ends_at_once_when_the_session_is_over(
    emulator: Emulator, john: StreamSpace
) -> None:
    ref = john.sessions.ref(emulator.streamspace.add_session(state="terminated").id)
    with pytest.raises(WaitFailed) as failed:
        await ref.wait_until("running")
    assert failed.value.last == "terminated"
    assert (await ref.wait_until({"terminated", "running"})).id == ref.id


async def test_a_wait_timeout_has_the_last_state(john: StreamSpace) -> None:
    session = await john.sessions.create(USER, "firefox-browser")
    with pytest.raises(WaitTimeout) as caught:
        await session.wait_until(SessionState.RUNNING, timeout=0.05, poll=0.01)
    assert caught.value.last == "pending"


async def test_lost_answer_to_a_create_is_not_asked_for_again(
    emulator: Emulator, john: StreamSpace
) -> None:
    await john.login()
    emulator.faults.add("POST *", Fault.reset_after())
    with pytest.raises(TransportError) as caught:
        await john.with_options(retry=RetryPolicy()).sessions.create(USER, "firefox-browser")
    assert caught.value.outcome_unknown
    assert len(emulator.streamspace.sessions) == 1


async def test_logs_are_the_last_lines_with_or_without_their_times(
    emulator: Emulator, john: StreamSpace
) -> None:
    session = await john.sessions.create(USER, "firefox-browser")
    assert await session.logs() == ()
    emulator.clock.advance(60)
    lines = await session.logs()
    assert [line.split("] ")[1] for line in lines] == [
        "Container started",
        "VNC server started on port 5900",
        "noVNC web server started on port 6080",
        "firefox-browser initialized",
    ]
    assert await session.logs(tail=1) == lines[-1:]
    assert await session.logs(tail=1, timestamps=False) == ("[INFO] firefox-browser initialized",)


# -- every code ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", StreamSpaceCode)
async def test_every_documented_code_comes_back_as_its_typed_error(
    emulator: Emulator, john: StreamSpace, admin: StreamSpace, code: StreamSpaceCode
) -> None:
    with pytest.raises(APIError) as caught:
        await REFUSALS[code](emulator, john, admin)
    error = caught.value
    assert type(error) is code.error
    assert (error.code, error.status, error.provider) == (code, code.status, "streamspace")
    assert error.request_id is not None
    assert error.request_id.startswith("req-")
    assert error.timestamp is not None


# -- who may see and do what -----------------------------------------------------------------------


async def test_user_sees_only_his_own_sessions(
    emulator: Emulator, john: StreamSpace, admin: StreamSpace
) -> None:
    mine, other = emulator.streamspace.add_session(), emulator.streamspace.add_session(user="admin")
    assert [session.id for session in await john.sessions.list().all()] == [mine.id]
    assert {session.id for session in await admin.sessions.list().all()} == {mine.id, other.id}
    assert [session.id for session in (await john.agents.get(KUBERNETES)).sessions] == [mine.id]
    for forbidden in (
        john.sessions.get(other.id),
        john.sessions.ref(other.id).logs(),
        john.sessions.ref(other.id).delete(),
    ):
        with pytest.raises(NotFoundError):
            await forbidden


async def test_administration_is_for_administrators(john: StreamSpace) -> None:
    for forbidden in (
        john.users.list().all(),
        john.users.create("eve", "eve@example.com", "canary"),
        john.agents.ref(KUBERNETES).set_status("online"),
        john.sessions.create("admin", "firefox-browser"),
    ):
        with pytest.raises(PermissionDeniedError) as caught:
            await forbidden
        assert "canary" not in str(caught.value)


async def test_new_user_can_log_in_and_a_second_of_the_name_is_refused(
    emulator: Emulator, admin: StreamSpace
) -> None:
    made = await admin.users.create("jane", "jane@example.com", "jane-password", role="admin")
    assert "jane-password" not in repr(made)
    base_url = emulator.endpoints()["streamspace"].base_url
    login = BearerAuth.login("jane", "jane-password")
    async with StreamSpace(Endpoint(base_url, auth=login)) as jane:
        assert {user.username for user in await jane.users.list(role="admin").all()} == {
            "admin",
            "jane",
        }
    with pytest.raises(ConflictError, match="jane"):
        await admin.users.create("jane", "jane@example.com", "x")
    with pytest.raises(InvalidRequestError) as caught:
        await admin.users.create("joe", "nowhere", "canary")
    assert caught.value.details == {"email": "must be an address"}


# -- agents, templates, lists ----------------------------------------------------------------------


async def test_agents_count_their_sessions_and_new_ones_go_where_there_is_room(
    emulator: Emulator, john: StreamSpace, admin: StreamSpace
) -> None:
    before = await john.agents.stats()
    assert before.total_capacity is not None
    assert before.utilization is not None
    assert (before.total_capacity.current_sessions, before.utilization.percentage) == (17, 11.3)
    await john.sessions.create(USER, "firefox-browser")
    after = (await john.agents.stats()).total_capacity
    assert after is not None
    assert after.current_sessions == 18
    update = await admin.agents.ref(KUBERNETES).drain()
    assert (update.agent_id, update.status) == (KUBERNETES, "draining")
    assert (await john.sessions.create(USER, "firefox-browser")).platform is Platform.DOCKER
    assert (await john.agents.stats()).draining_agents == 1


async def test_offline_agent_has_no_connection_and_its_last_heartbeat(
    emulator: Emulator, admin: StreamSpace
) -> None:
    await admin.agents.ref(DOCKER).set_status("offline")
    emulator.clock.advance(3600)
    agent = await admin.agents.get(DOCKER)
    assert (agent.websocket_conn_id, agent.uptime_seconds) == (None, timedelta(0))
    assert agent.last_heartbeat == agent.updated_at


async def test_lists_are_fetched_page_by_page_in_the_order_asked_for(
    emulator: Emulator, john: StreamSpace
) -> None:
    for number in range(5):
        emulator.streamspace.add_session(tags=(f"n{number}",))
        emulator.clock.advance(1)
    tags = [session.tags for session in await john.sessions.list(limit=2).all()]
    assert tags == [(f"n{number}",) for number in (4, 3, 2, 1, 0)]
    assert [call.query for call in emulator.calls if call.method == "GET"] == [
        f"page={page}&limit=2" for page in (1, 2, 3)
    ]
    first = await john.sessions.list(order="asc").first()
    assert first is not None
    assert first.tags == ("n0",)
    (page,) = [page async for page in john.sessions.list(page=3, limit=2).pages()]
    assert (page.number, page.total, page.next, len(page.items)) == (3, 5, None, 1)


async def test_listed_template_knows_less_than_a_fetched_one(john: StreamSpace) -> None:
    listed = await john.templates.list(category="Development").first()
    assert listed is not None
    assert (listed.idle_timeout, listed.environment) == (None, {})
    fetched = await listed.refresh()
    assert (fetched.name, fetched.idle_timeout, fetched.environment["TZ"]) == (
        listed.name,
        timedelta(hours=1),
        "UTC",
    )
    with pytest.raises(NotFoundError):
        await john.templates.get("no/such")


async def test_instances_are_the_sessions_that_are_not_over(
    emulator: Emulator, admin: StreamSpace
) -> None:
    for state in STATES:
        emulator.streamspace.add_session(state=state)
    found = await admin.instances().all()
    assert {instance.state for instance in found} == {
        InstanceState.STARTING,
        InstanceState.RUNNING,
        InstanceState.HIBERNATED,
        InstanceState.STOPPING,
    }
    for instance in found:
        assert isinstance(instance.resource, Session)
        assert isinstance(instance.resource, Controllable)
        assert (instance.provider, instance.id) == ("streamspace", instance.resource.id)
