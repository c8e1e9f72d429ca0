"""A web portal for the machines of all providers: list them, start, stop and connect to them.

It serves what the environment configures (VCLOUD_*), to those who send the PORTAL_KEY. Its workers
log in once if they share a VCLOUD_STREAMSPACE_TOKEN_STORE. As a script, it tries emulated machines.

    uvicorn --app-dir examples web_portal:app --workers 2 --timeout-graceful-shutdown 10
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader

import vcloud
from vcloud import VCloud, VCloudError, printable
from vcloud.emulator import Emulator

#: What a visitor gets for an error of the client; for any other, 502.
STATUS: dict[type[VCloudError], int] = {
    vcloud.InvalidArgumentError: 400,
    vcloud.ConfigurationError: 404,  # a provider that is not configured here
    vcloud.NotFoundError: 404,
    vcloud.ConflictError: 409,
    vcloud.UnsupportedError: 501,
}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, VCloud]]:
    """One client for each worker, from its start to its end."""
    async with VCloud.from_env(deadline=20) as cloud:
        yield {"cloud": cloud}


def authorized(key: Annotated[str, Security(APIKeyHeader(name="X-Portal-Key"))]) -> None:
    """Who has the key may do everything. Web pages of another origin cannot send this header."""
    if not secrets.compare_digest(key.encode(), os.environ["PORTAL_KEY"].encode()):
        raise HTTPException(403, "The key is wrong.")


def client(request: Request) -> VCloud:
    """The client of this worker."""
    cloud: VCloud = request.state.cloud
    return cloud


Cloud = Annotated[VCloud, Depends(client)]
app = FastAPI(title="Machines", lifespan=lifespan, dependencies=[Depends(authorized)])


@app.exception_handler(VCloudError)
async def failed(_: Request, error: VCloudError) -> JSONResponse:
    """The visitor gets the words for people, the log everything."""
    logging.getLogger("portal").warning("%s", json.dumps(error.to_dict()))
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 502)
    answer = {"message": error.user_message, "outcome_unknown": error.outcome_unknown}
    return JSONResponse(answer, status)


@app.get("/health")
async def health(cloud: Cloud, response: Response) -> dict[str, dict[str, object]]:
    """Which providers answer, and how busy this worker's client is. 503 if none answers."""
    outcomes, stats = await cloud.ping(timeout=5), cloud.stats()
    response.headers["X-Worker"] = str(os.getpid())
    if all(outcome.error for outcome in outcomes.values()):
        response.status_code = 503
    return {
        name: {"status": one.status, "message": one.user_message, **stats[name].to_dict()}
        for name, one in outcomes.items()
    }


@app.get("/machines")
async def machines(cloud: Cloud) -> dict[str, object]:
    """All machines and what they can do, and why those of a provider are missing."""
    found = cloud.instances(timeout=5).prefetch(8)
    listed = [{**one.to_dict(), "can": one.capabilities.to_dict()} async for one in found]
    missing = {provider: error.user_message for provider, error in found.errors.items()}
    return {"machines": listed, "missing": missing}


@app.get("/machines/{provider}/{machine}")
async def show(cloud: Cloud, provider: str, machine: str) -> dict[str, object]:
    """One machine, with all that its provider tells."""
    one = await cloud.instance(provider, machine).refresh()
    return {**one.to_dict(), "details": one.resource.to_dict()}


@app.post("/machines/{provider}/{machine}/connect")
async def connect(cloud: Cloud, provider: str, machine: str, response: Response) -> dict[str, str]:
    """A link that opens the machine: a secret, which no cache may keep."""
    link = await cloud.instance(provider, machine).connect_url()
    if link.startswith("ws"):  # the VNC address of a session holds the portal's own token
        raise HTTPException(501, "A session has no link for visitors.")
    response.headers["Cache-Control"] = "no-store"
    return {"url": link}


@app.post("/machines/{provider}/{machine}/{verb}", status_code=202)
async def act(
    cloud: Cloud, provider: str, machine: str, verb: Literal["start", "stop", "hibernate", "wake"]
) -> dict[str, str]:
    """Begin it. The machine's state says when it is done."""
    one = cloud.instance(provider, machine)
    verbs = {"start": one.start, "stop": one.stop, "hibernate": one.hibernate, "wake": one.wake}
    await verbs[verb]()
    return {"accepted": f"{verb} {one.key}"}


def main() -> None:
    """Serve emulated machines with two workers, and send them what a browser would."""
    key, command = secrets.token_urlsafe(), [sys.executable, "-m", "uvicorn", "web_portal:app"]
    headers = {"X-Portal-Key": key, "Connection": "close"}
    others = {name: text for name, text in os.environ.items() if "VCLOUD_" not in name}
    with Emulator(machines=3) as emulator, socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        environment = {**others, **emulator.env(), "PORTAL_KEY": key}
        command += ["--app-dir", str(Path(__file__).parent), "--workers", "2", "--fd", str(fd)]
        with subprocess.Popen(  # noqa: S603 - this program itself
            command, env=environment, pass_fds=[fd], stderr=subprocess.STDOUT
        ) as server:
            try:
                start = ("POST", "/machines/computers/100/start")
                for method, path in (("GET", "/health"), ("GET", "/machines"), start, start):
                    visit = HTTPConnection("127.0.0.1", port, timeout=60)
                    visit.request(method, path, headers=headers)
                    answer = visit.getresponse()
                    print(method, path, answer.status, printable(answer.read().decode()))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
