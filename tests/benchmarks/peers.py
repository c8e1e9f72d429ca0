"""The clients that are compared: each gets one machine, or all, from the same server.

They do not all do the same work. Bare aiohttp and httpx return dicts of texts and do not sign.
vcloud signs, returns typed objects, and has limits and retries. So have the openai SDK, with
pydantic models and without signing, and aiobotocore, with dicts that have datetimes. Retries are
turned off where that is possible; vcloud runs with its defaults.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
from attrs import frozen

from tests.benchmarks.canned import PAGES, PER_PAGE, PERMISSIONS
from tests.benchmarks.harness import BARE, VCLOUD, Call, Options, computers_at

loads: Callable[[bytes], Any]
try:
    import orjson
except ImportError:
    PARSER, loads = "json, as orjson is not installed", json.loads
else:
    PARSER, loads = "orjson", orjson.loads


@frozen
class Way:
    """One way to get machines.

    Attributes:
        one: fetches one machine.
        page: fetches the first page.
        everything: fetches all pages, one after the other, and returns the machines.
        ahead: the same with this many pages at once; None if the client has no way to do that.
    """

    one: Call
    page: Call
    everything: Callable[[], Awaitable[list[Any]]]
    ahead: Callable[[int], Awaitable[list[Any]]] | None = None


Opened = AbstractAsyncContextManager[Way]
#: Returns the machines of the page with this number, and the number of the next page.
Read = Callable[[int], Awaitable[tuple[list[Any], int | None]]]


def by_hand(one: Call, read: Read) -> Way:
    """A way to get machines with a client that does not know about pages."""

    async def everything() -> list[Any]:
        machines: list[Any] = []
        following: int | None = 1
        while following is not None:
            found, following = await read(following)
            machines += found
        return machines

    return Way(one, lambda: read(1), everything)


@contextlib.asynccontextmanager
async def bare(base: str, connections: int) -> AsyncIterator[Way]:
    """Careful code by hand: one session, GET, a check of the status, a fast parser."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:

        async def get(path: str) -> Any:
            async with session.get(base + path) as answer:
                answer.raise_for_status()
                return loads(await answer.read())

        async def read(page: int) -> tuple[list[Any], int | None]:
            found = await get(f"/machines?page={page}&per_page={PER_PAGE}")
            return found["machines"], found["next_page"]

        async def ahead(pages: int) -> list[Any]:
            machines, _ = await read(1)
            slots = asyncio.Semaphore(pages)

            async def guarded(page: int) -> list[Any]:
                async with slots:
                    return (await read(page))[0]

            for found in await asyncio.gather(*[guarded(page) for page in range(2, PAGES + 1)]):
                machines += found
            return machines

        yield attrs.evolve(by_hand(lambda: get("/machines/100"), read), ahead=ahead)


@contextlib.asynccontextmanager
async def vcloud(base: str, connections: int) -> AsyncIterator[Way]:
    async with computers_at(base, connections) as computers:
        machines = computers.machines
        yield Way(
            machines.ref("100").refresh,
            lambda: machines.list(per_page=PER_PAGE).first(),
            lambda: machines.list(per_page=PER_PAGE).all(),
            lambda ahead: machines.list(per_page=PER_PAGE).prefetch(ahead).all(),
        )


@contextlib.asynccontextmanager
async def httpx(base: str, connections: int) -> AsyncIterator[Way]:
    import httpx

    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    # Its timeout for a free connection would end most of the thousands of tasks that start at once.
    async with httpx.AsyncClient(
        base_url=base, limits=limits, timeout=httpx.Timeout(30, pool=None)
    ) as client:

        async def get(path: str) -> Any:
            return (await client.get(path)).raise_for_status().json()

        async def read(page: int) -> tuple[list[Any], int | None]:
            found = await get(f"/machines?page={page}&per_page={PER_PAGE}")
            return found["machines"], found["next_page"]

        yield by_hand(lambda: get("/machines/100"), read)


def openai_models() -> tuple[type[Any], type[Any]]:
    """The models of a machine and of a page."""
    from openai import BaseModel

    class UserAttributes(BaseModel):
        email: str | None = None
        name: str | None = None

    class User(BaseModel):
        id: str
        type: str
        attributes: UserAttributes

    class Task(BaseModel):
        id: int
        uid: str
        created_at: datetime

    class Permissions(BaseModel):
        public_internet_access: bool
        can_download_from_vagon_workstation: bool
        can_upload_to_workstation: bool
        analytics_collection_enabled: bool
        clipboard_enabled: bool
        screen_recording_enabled: bool
        input_recording_enabled: bool

    class Attributes(BaseModel):
        name: str
        last_session_start_at: datetime | None
        auto_stop_threshold: int
        file_storage_size: int
        disk_size: int
        network_credit: int
        assigned_image_id: int
        assigned_image_name: str
        region: str
        machine_type: str
        remaining_usage: int
        deposited_usage: int
        friendly_status: str
        user: User | None
        permissions: Permissions
        usage_source: str
        task: Task | None
        latest_image_status: str

    class Machine(BaseModel):
        id: str
        type: str
        attributes: Attributes

    class Page(BaseModel):
        machines: list[Machine]
        count: int
        page: int
        next_page: int | None

    return Machine, Page


@contextlib.asynccontextmanager
async def openai(base: str, connections: int) -> AsyncIterator[Way]:
    """The openai SDK's own request method, with a machine in models of its kind."""
    from openai import AsyncOpenAI

    machine_model, page_model = openai_models()
    async with AsyncOpenAI(base_url=base, api_key="x", max_retries=0) as client:

        async def read(page: int) -> tuple[list[Any], int | None]:
            found = await client.get(
                f"/machines?page={page}&per_page={PER_PAGE}", cast_to=page_model
            )
            return found.machines, found.next_page

        yield by_hand(lambda: client.get("/machines/100", cast_to=machine_model), read)


@contextlib.asynccontextmanager
async def aiobotocore(base: str, connections: int) -> AsyncIterator[Way]:
    """An AWS client, with a description of the service in AWS's form."""
    from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
    from aiobotocore.session import get_session  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as folder:
        describe_in(Path(folder))
        session = get_session()
        session.get_component("data_loader").search_paths.append(folder)
        async with session.create_client(
            "vagon",
            region_name="nowhere",
            endpoint_url=base,
            aws_access_key_id="ak_test_1",
            aws_secret_access_key="sk_test_1",
            config=AioConfig(max_pool_connections=connections, retries={"total_max_attempts": 1}),
        ) as client:

            async def read(page: int) -> tuple[list[Any], int | None]:
                found = await client.list_machines(page=page, per_page=PER_PAGE)
                return found["machines"], found.get("next_page")

            yield by_hand(lambda: client.get_machine(id="100"), read)


VERSION: Final = "2026-01-01"


def describe_in(folder: Path) -> None:
    """Write the description to the folder that botocore's loader searches."""
    described = folder / "vagon" / VERSION / "service-2.json"
    described.parent.mkdir(parents=True)
    described.write_text(json.dumps(service()), encoding="utf-8")


#: The members of each structure, with their shapes.
STRUCTURES: Final[dict[str, dict[str, str]]] = {
    "Machine": {"id": "string", "type": "string", "attributes": "Attributes"},
    "Page": {"machines": "Machines", "count": "long", "page": "long", "next_page": "long"},
    "Attributes": {
        "last_session_start_at": "timestamp",
        "user": "User",
        "permissions": "Permissions",
        "task": "Task",
        **dict.fromkeys(("name", "assigned_image_name", "region", "machine_type"), "string"),
        **dict.fromkeys(("friendly_status", "usage_source", "latest_image_status"), "string"),
        **dict.fromkeys(
            ("auto_stop_threshold", "file_storage_size", "disk_size", "network_credit"), "long"
        ),
        **dict.fromkeys(("assigned_image_id", "remaining_usage", "deposited_usage"), "long"),
    },
    "User": {"id": "string", "type": "string", "attributes": "UserAttributes"},
    "UserAttributes": {"email": "string", "name": "string"},
    "Permissions": dict.fromkeys(PERMISSIONS, "boolean"),
    "Task": {"id": "long", "uid": "string", "created_at": "timestamp"},
}


def shapes_of_service() -> dict[str, object]:
    """The values of the two calls in AWS's form."""
    shapes: dict[str, object] = {
        "string": {"type": "string"},
        "long": {"type": "long"},
        "boolean": {"type": "boolean"},
        "timestamp": {"type": "timestamp", "timestampFormat": "iso8601"},
        "Machines": {"type": "list", "member": {"shape": "Machine"}},
        "GetMachineInput": {
            "type": "structure",
            "required": ["id"],
            "members": {"id": {"shape": "string", "location": "uri", "locationName": "id"}},
        },
        "ListMachinesInput": {
            "type": "structure",
            "members": {
                name: {"shape": "long", "location": "querystring", "locationName": name}
                for name in ("page", "per_page")
            },
        },
    }
    for name, members in STRUCTURES.items():
        shapes[name] = {
            "type": "structure",
            "members": {member: {"shape": shape} for member, shape in members.items()},
        }
    return shapes


def service() -> dict[str, object]:
    """The description of the two calls in AWS's form."""
    paths = {"GetMachine": ("/machines/{id}", "Machine"), "ListMachines": ("/machines", "Page")}
    return {
        "version": "2.0",
        "metadata": {
            "apiVersion": VERSION,
            "endpointPrefix": "vagon",
            "protocol": "rest-json",
            "serviceId": "Vagon",
            "serviceFullName": "Vagon Computers",
            "signatureVersion": "v4",
        },
        "operations": {
            name: {
                "name": name,
                "http": {"method": "GET", "requestUri": path},
                "input": {"shape": f"{name}Input"},
                "output": {"shape": answer},
            }
            for name, (path, answer) in paths.items()
        },
        "shapes": shapes_of_service(),
    }


_WAYS: Final[dict[str, Callable[[str, int], Opened]]] = {
    BARE: bare,
    VCLOUD: vcloud,
    "httpx": httpx,
    "openai": openai,
    "aiobotocore": aiobotocore,
}


def columns(chosen: Options) -> tuple[str, ...]:
    """The names of the clients, installed or not."""
    return (BARE, VCLOUD) if chosen.alone else tuple(_WAYS)


@contextlib.asynccontextmanager
async def ways(chosen: Options, base: str, connections: int = 100) -> AsyncIterator[dict[str, Way]]:
    """The installed clients, open, with this many connections at most (the openai SDK: 1 000)."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(_WAYS[name](base, connections))
            for name in columns(chosen)
            if name in (BARE, VCLOUD) or find_spec(name) is not None
        }
