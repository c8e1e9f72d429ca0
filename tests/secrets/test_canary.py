"""Canaries in place of every secret are found nowhere after every operation and failure.

More than 400 lines because all its tests share one set of services and secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import evolve, frozen

from tests.contract.contract_harness import PROVIDERS
from tests.hostile.growth import shared_out
from tests.secrets.sniffing import (
    CANARY,
    Listener,
    decoded_leaks_in,
    found_in,
    leaks_below,
    leaks_in,
)
from tests.secrets.spelling import WHOLE
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    Bulk,
    CleanupError,
    ConfigurationError,
    Endpoint,
    HMACAuth,
    RateLimit,
    RetryPolicy,
    SharedBudget,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Credentials, Emulator, Fault
from vcloud.providers.streamspace import StreamSpace

#: Quotes, a backslash and a letter beyond ASCII, because what is escaped must be found, too.
PASSWORD = f'{CANARY}-"password"\\-é&1'
SECRET, KEY, TOKEN = (f"{CANARY}-{what}-0123456789" for what in ("hmac-secret", "api-key", "token"))
ONCE = RetryPolicy(attempts=1, base=0.001)


@pytest.fixture(autouse=True)
def listener() -> Iterator[Listener]:
    """Of every logger, at every level."""
    listener = Listener()
    with listener.everywhere():
        yield listener
    assert not listener.found[:5]


async def outcome(call: Callable[[], Awaitable[object]]) -> object:
    try:
        return await call()
    except Exception as error:
        return error


#: The names of the facade; the emulator here plays StreamSpace as its document says.
APIS = tuple(api for api, provider in PROVIDERS.items() if provider.name == provider.api)


def operations(api: str) -> list[Callable[[Any], Awaitable[object]]]:
    return [call for calls in PROVIDERS[api].calls.values() for call in calls]


async def outcomes(cloud: VCloud) -> list[object]:
    """What becomes of each documented operation of each provider, all at once."""
    calls = [
        lambda call=call, api=api: call(getattr(cloud, api))
        for api in APIS
        for call in operations(api)
    ]
    return await asyncio.gather(*[outcome(call) for call in calls], outcome(cloud.instances().all))


# -- a service that keeps to its contract, and one that does not -----------------------------------


@contextlib.asynccontextmanager
async def emulated(
    monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[tuple[Emulator, VCloud]]:
    credentials = evolve(
        Credentials.drawn(),
        computers_secret=SECRET,
        streams_secret=SECRET,
        desktops_api_key=KEY,
        streamspace_password=PASSWORD,
    )
    async with Emulator(machines=2, rate_limits=False, credentials=credentials) as emulator:
        emulator.streamspace.add_session()
        patience = {
            "timeout": 0.2,
            "deadline": 5.0,
            "retry": ONCE,
            "max_response": 64 * 1024,
            "max_pages": 5,
            **options,
        }
        given: dict[str, Any] = dict(emulator.endpoints())
        ends = {name: evolve(given[name], **patience) for name in APIS}
        async with VCloud(**ends) as cloud:
            yield emulator, cloud


@pytest.mark.parametrize("fault", [None, *Fault.catalogue(seconds=0.3, size=200_000)])
async def test_no_operation_shows_a_secret_however_it_fails(
    fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulated(monkeypatch) as (emulator, cloud):
        if fault is not None:
            # With a token, what follows gets beyond the login.
            await cloud.streamspace.with_options(timeout=20).agents.stats()
            emulator.faults.add("*", Fault.catalogue(seconds=0.3, size=200_000)[fault], times=None)
        ended = await outcomes(cloud)
        hits = [hit for one in ended for hit in leaks_in(one)]
        assert not hits[:5]
        assert not leaks_below(cloud)[:5]
        assert not found_in(repr(list(emulator.calls)), "ledger")
        assert not [
            one
            for one in emulator.elsewhere.arrivals
            if CANARY in repr(dict(one.headers)) + repr(one.body)
        ]


async def test_asyncios_debug_mode_shows_no_secret(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    async with emulated(monkeypatch) as (emulator, cloud):
        loop.set_debug(True)
        # Then it takes every callback for a slow one, and prints it with its arguments.
        monkeypatch.setattr(loop, "slow_callback_duration", 0.0)
        emulator.faults.add("GET *", Fault.truncate(5), times=None)
        await outcomes(cloud)
        loop.set_debug(False)
    assert listener.heard > 1000


@frozen
class Reflecting:
    """A service that repeats the request, with its headers, in every text of its answer."""

    status: int
    form: str
    spell: Callable[[str], str] = str

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        body = (await request.read()).decode()
        heard = f"{request.method} {request.raw_path} {dict(request.headers)} {body}"
        echoed = [
            value.rpartition(" ")[2]
            for name, value in request.headers.items()
            if CANARY in value.lower()
        ]
        # A header is one line of ASCII.
        repeated = "".join(map(self.spell, echoed))
        heard = self.spell(heard) if self.spell is not str else heard
        headers = {
            "X-Request-ID": repeated,
            "Retry-After": repeated,
            "Location": f"/{repeated}?{repeated}",
        }
        if self.form == "page":
            return web.Response(
                status=self.status,
                text=f"<html>{repeated}{heard}",
                content_type="text/html",
                headers=headers,
            )
        if self.form == "text":
            return web.Response(status=self.status, text=repeated + heard, headers=headers)
        words = self._words(repeated, heard)
        return web.json_response(words, status=self.status, headers=headers)

    def _words(self, repeated: str, heard: str) -> dict[str, Any]:
        if self.form == "misfit":
            return {
                "machines": repeated,
                "count": repeated,
                "id": [repeated],
                "status": 1,
                "token": [heard],
                "agents": heard,
            }
        return {
            "client_code": 400,
            "status": "error",
            "code": repeated or heard,
            "error": repeated + heard,
            "message": repeated + heard,
            "details": {repeated: [repeated, heard]},
            "requestId": repeated,
            "docs": heard,
        }


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    server = web.Server(answer, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.shutdown(0.1)
        await listener.wait_closed()


def everything(url: str, bearer: BearerAuth, **options: Any) -> VCloud:
    return VCloud(
        computers=Endpoint(url, auth=HMACAuth("ak", SECRET), retry=ONCE, **options),
        streams=Endpoint(url, auth=HMACAuth("ak", SECRET), retry=ONCE, **options),
        streamspace=Endpoint(f"{url}/api/v1", auth=bearer, retry=ONCE, **options),
        streamspace_dialect="documented",
        desktops=Endpoint(url, auth=APIKeyAuth(KEY), retry=ONCE, **options),
    )


@pytest.mark.parametrize("form", ["object", "misfit", "page", "text"])
@pytest.mark.parametrize("status", [200, 302, 401, 422, 429, 503])
async def test_a_service_that_repeats_what_it_was_sent_is_not_quoted(
    status: int, form: str
) -> None:
    async with serving(Reflecting(status, form)) as url:
        for bearer in (BearerAuth(TOKEN), BearerAuth.login("admin", PASSWORD)):
            # The documented limits, which this service does not announce, would let some wait for a
            # minute.
            async with everything(url, bearer, deadline=5) as cloud:
                ended = await outcomes(cloud)
                session = cloud.streamspace.sessions.ref("1")
                ended += [
                    await outcome(
                        lambda: cloud.streamspace.users.create("name", "name@example.com", PASSWORD)
                    ),
                    await outcome(lambda: cloud.streamspace.login("admin", PASSWORD)),
                    await outcome(cloud.streamspace.refresh_token),
                    await outcome(session.open_vnc().aopen),
                    await outcome(session.logs(follow=True).__aenter__),
                ]
                assert sum(isinstance(one, VCloudError) for one in ended) > 30
                assert not [
                    one
                    for one in ended
                    if isinstance(one, Exception) and not isinstance(one, VCloudError)
                ]
                hits = [hit for one in ended for hit in leaks_in(one)]
                assert not hits[:5]


#: What repeats it: a refusal, a success that is none, a page of a gateway.
ANSWERS = {"422 object": (422, "object"), "200 misfit": (200, "misfit"), "503 text": (503, "text")}


@pytest.mark.parametrize(("answer", "way"), shared_out(ANSWERS, WHOLE))
async def test_a_service_that_spells_what_it_was_sent_in_another_way_is_not_quoted(
    answer: str, way: str
) -> None:
    asyncio.get_running_loop().set_debug(True)
    spell, (status, form) = WHOLE[way], ANSWERS[answer]

    def on_one_line(text: str) -> str:
        return spell(text).replace("\n", "")

    async with (
        serving(Reflecting(status, form, on_one_line)) as url,
        everything(url, BearerAuth.login("admin", PASSWORD), deadline=5) as cloud,
    ):
        ended = [
            await outcome(call)
            for call in (
                lambda: cloud.computers.machines.get("100"),
                cloud.computers.machines.list().all,
                cloud.streams.applications.list().all,
                cloud.streamspace.agents.stats,
                lambda: cloud.streamspace.login("admin", PASSWORD),
                lambda: cloud.streamspace.users.create("name", "name@example.com", PASSWORD),
                cloud.streamspace.sessions.ref("1").open_vnc().aopen,
                lambda: cloud.desktops.ref("1").stop(),
                cloud.desktops.launch,
            )
        ]
        async with everything(url, BearerAuth(TOKEN), deadline=5) as other:
            ended += [
                await outcome(other.streamspace.agents.stats),
                await outcome(other.streamspace.sessions.list().all),
                await outcome(other.streamspace.sessions.ref("1").open_vnc().aopen),
            ]
        errors = [one for one in ended if isinstance(one, VCloudError)]
        assert len(errors) > 8
        assert not [hit for one in ended for hit in leaks_in(one)][:5]
        assert not [hit for one in errors for hit in decoded_leaks_in(one)][:5]


async def test_a_machines_uid_is_in_no_error_log_pickle_or_journal(tmp_path: Path) -> None:
    uid = f"{CANARY}-uid/0123456789"

    async def answer(request: web.BaseRequest) -> web.Response:
        status, where = next(statuses), f"no machine {request.path}: {request.raw_path}"
        words = {"client_code": status, "message": where}
        return web.json_response(words, status=status, headers={"Location": request.path})

    statuses = iter([404, 500, 302, 200, 404, 404])
    async with serving(answer) as url, everything(url, BearerAuth(TOKEN)) as cloud:
        machines = cloud.streams.machines
        for call in [
            *[lambda: machines.get(uid)] * 4,
            lambda: machines.ref("1", uid=uid).wait_until("available", timeout=0),
        ]:
            error = await outcome(call)
            assert isinstance(error, VCloudError)
            assert "/machines/{uid}" in str(error)
            assert not leaks_in(error)
            assert not decoded_leaks_in(error)

        async def look(id: str) -> None:
            await machines.ref(id, uid=uid).refresh()

        async with Bulk(["1"], look, journal=tmp_path / "journal") as run:
            assert not [hit async for one in run for hit in leaks_in(one.error)]
    for file in list(tmp_path.iterdir()):  # noqa: ASYNC240 - nothing else runs any more
        assert not found_in(file.read_bytes(), file.name)


async def test_a_pictures_path_that_the_service_named_is_in_no_error_and_no_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with emulated(monkeypatch) as (emulator, cloud):
        id = next(iter(emulator.streamspace.sessions))

        def named(answer: Any) -> Any:
            path = f"/vnc/{TOKEN}/picture/{TOKEN}?key={TOKEN}"
            return {**answer, "status": {"phase": "Running", "vncUrl": path, "vnc_url": path}}

        emulator.faults.add("GET */sessions/*", Fault.edit(named), times=None)
        session = await cloud.streamspace.sessions.get(id)
        error = await outcome(session.open_vnc().aopen)
        assert isinstance(error, VCloudError)
        assert "/vnc-viewer/{session_id}" in str(error)
        assert not leaks_in(error)


async def test_secrets_from_a_service_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening = {"connection_link", "stream_url", "token", "vnc_url", "vncUrl"}

    def whispered(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: f"{inner}?token={TOKEN}"
                if name in opening and isinstance(inner, str)
                else whispered(inner)
                for name, inner in value.items()
            }
        return [whispered(inner) for inner in value] if isinstance(value, list) else value

    async with emulated(monkeypatch) as (emulator, cloud):
        emulator.faults.add("*/auth/*", Fault.edit(lambda answer: answer), times=None)
        emulator.faults.add("*", Fault.edit(whispered), times=None)
        session = await cloud.streamspace.sessions.ref(
            next(iter(emulator.streamspace.sessions))
        ).refresh()
        desktop = await cloud.desktops.ref((await cloud.desktops.launch()).id).refresh()
        emulator.computers.add_machine(id="7", status="ready")
        link = await cloud.computers.machines.ref("7").create_access_link(expires_in=3600)
        for one in (session, desktop, link):
            assert not found_in(repr(one) + str(one), "repr")
        for one in (desktop, link):
            assert not leaks_in(one)
        assert CANARY in link.connection_link


# -- what is not an answer -------------------------------------------------------------------------


async def test_a_cancelled_call_shows_no_secret_to_reporters_of_local_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with emulated(monkeypatch, timeout=0.5) as (emulator, cloud):
        emulator.faults.add("*", Fault.stall_headers(None), times=None)

        async def given_up(call: Callable[[], Awaitable[object]]) -> object:
            async with asyncio.timeout(0.1):
                return await call()

        calls = [
            lambda call=call, api=api: call(getattr(cloud, api))
            for api in APIS
            for call in operations(api)
        ]
        for error in await asyncio.gather(
            *[given_up(call) for call in calls], return_exceptions=True
        ):
            # To log out without a token asks nobody; a launch says that a desktop may be left.
            assert error is None or isinstance(error, TimeoutError | CleanupError)
            assert not leaks_in(error)


async def test_no_connection_a_closed_client_and_another_loop_show_no_secret() -> None:
    for bearer in (BearerAuth(TOKEN), BearerAuth.login("admin", PASSWORD)):
        cloud = everything("http://127.0.0.1:9", bearer)
        assert not [hit for one in await outcomes(cloud) for hit in leaks_in(one)], "not open yet"
        async with cloud:
            assert not [hit for one in await outcomes(cloud) for hit in leaks_in(one)], (
                "nobody is there"
            )
            elsewhere = await asyncio.to_thread(asyncio.run, outcomes(cloud))
            assert not [hit for one in elsewhere for hit in leaks_in(one)], "another loop"
        assert not [hit for one in await outcomes(cloud) for hit in leaks_in(one)], "closed"
        assert not leaks_below(cloud)
        for thing in (
            cloud,
            cloud.computers,
            cloud.streamspace,
            bearer,
            HMACAuth("ak", SECRET),
            APIKeyAuth(KEY),
        ):
            assert not leaks_in(thing)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HMACAuth("ak", f"{SECRET}\n"),
        lambda: HMACAuth(f"ak:{SECRET}", "x"),
        lambda: BearerAuth(f"{TOKEN} \r\n"),
        lambda: BearerAuth(f"Bearer {TOKEN}"),
        lambda: APIKeyAuth(f"{KEY}\0"),
        lambda: Endpoint(f"https://me:{PASSWORD}@host", auth=APIKeyAuth("k")),
        lambda: Endpoint(f"https://host/?key={KEY}", auth=APIKeyAuth("k")),
        lambda: Endpoint(f"https://ak:{KEY}", auth=APIKeyAuth("k")),
        lambda: Endpoint(f"https://{KEY}\u2100", auth=APIKeyAuth("k")),
        lambda: Endpoint(auth=KEY),  # type: ignore[arg-type]
        lambda: VCloud.from_env(
            {"VCLOUD_COMPUTERS_KEY": "ak", "VCLOUD_COMPUTERS_SECRET": f"{SECRET}\n"}
        ),
        lambda: VCloud.from_env({"VCLOUD_STREAMSPACE_TOKEN": TOKEN}),
        lambda: SharedBudget(f"redis://:{KEY}@host:port"),
        lambda: SharedBudget(f"redis://:{KEY}@[host"),
        lambda: SharedBudget(f"{KEY}@host"),
        lambda: SharedBudget(f"memcached://me:{KEY}@host"),
    ],
)
def test_a_mistake_in_configuring_does_not_print_the_secret(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert not found_in(str(caught.value) + repr(caught.value), "error")
    link: BaseException | None = caught.value
    while link is not None:
        assert not found_in(str(link) + repr(link), "chained")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"what?\r\n\r\n",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxys_password_is_in_no_error(answer: bytes | None, scheme: str) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with server:
        address = f"http://me:{KEY}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        url = f"{scheme}://127.0.0.1:9/v1"
        async with everything(url, BearerAuth(TOKEN), proxy=address) as cloud:
            error = await outcome(lambda: cloud.computers.machines.get("100"))
            assert isinstance(error, VCloudError)
            assert not leaks_in(error)
            assert not leaks_below(cloud)


@pytest.mark.parametrize(
    "address",
    [
        f"socks5://me:{KEY}@127.0.0.1:9",
        f"http://me:{KEY}@127.0.0.1:port",
        f"me:{KEY}",
        f"http://{KEY}@",
    ],
)
async def test_a_proxy_that_is_none_is_an_error_of_ours_without_its_password(address: str) -> None:
    try:
        async with everything("https://127.0.0.1:9/v1", BearerAuth(TOKEN), proxy=address) as cloud:
            error: object = await outcome(lambda: cloud.computers.machines.get("100"))
    except ConfigurationError as refused:
        error = refused
    assert isinstance(error, VCloudError)
    assert not found_in(str(error) + repr(error) + repr(error.__context__), "error")


async def test_a_stores_password_is_in_no_error() -> None:
    budget = SharedBudget(f"redis://:{KEY}@127.0.0.1:9")
    endpoint = Endpoint(
        "http://127.0.0.1:9/v1",
        auth=HMACAuth("ak", SECRET),
        rate_limits=[RateLimit(1, 1)],
        shared_budget=budget,
    )
    async with VCloud(computers=endpoint) as cloud:
        error = await outcome(lambda: cloud.computers.machines.get("100"))
        assert isinstance(error, VCloudError)
        assert not found_in(str(error) + repr(error) + repr(endpoint) + repr(budget), "error")


async def test_no_journal_has_a_secret(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with (
        serving(Reflecting(400, "object")) as url,
        everything(url, BearerAuth(TOKEN)) as cloud,
    ):

        async def work(number: int) -> object:
            return await outcome_of(number)

        async def outcome_of(number: int) -> object:
            calls: list[Callable[[], Awaitable[object]]] = [
                cloud.streamspace.agents.stats,
                lambda: cloud.desktops.get("1"),
                lambda: cloud.computers.machines.get("100"),
            ]
            return await calls[number % 3]()

        async with Bulk(range(6), work, journal=journal, counted=True) as run:
            ended = [one async for one in run]
        assert run.totals.failed == 6
        assert not [hit for one in ended for hit in leaks_in(one.error)]
    for file in list(tmp_path.iterdir()):  # noqa: ASYNC240 - nothing else runs any more
        assert not found_in(file.read_bytes(), file.name)
    with contextlib.closing(sqlite3.connect(journal)) as database:
        assert not found_in("\n".join(database.iterdump()), "journal")


async def test_the_emulators_own_routes_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp

    async with emulated(monkeypatch) as (emulator, cloud):
        emulator.faults.add("*/agents", Fault.redirect())
        await outcomes(cloud)
        with contextlib.suppress(VCloudError):
            async with cloud.streamspace.sessions.ref(
                next(iter(emulator.streamspace.sessions))
            ).open_vnc():
                pass
        async with aiohttp.ClientSession(emulator.url) as session:
            for route in ("calls", "faults", "elsewhere", "clock", ""):
                async with session.get(f"/_emulator/{route}".rstrip("/")) as answer:
                    assert not found_in(await answer.text(), route)
        assert not found_in(
            repr(emulator.calls) + repr(emulator) + repr(emulator.elsewhere.arrivals), "repr"
        )
        auth = cloud.streamspace._session.auth  # noqa: SLF001 - the token is nowhere else
        headers = auth.headers(None, "", now=0.0, nonce="")  # type: ignore[arg-type]
        token = headers["Authorization"].partition(" ")[2]
        assert token not in repr(emulator.calls)
        assert json.dumps(token) not in repr(emulator.calls)


def test_the_repr_of_a_client_shows_no_secret() -> None:
    cloud = everything(
        "https://127.0.0.1:9/v1", BearerAuth(TOKEN), proxy=f"http://me:{KEY}@127.0.0.1:9"
    )
    assert not leaks_below(cloud)
    assert "StreamSpace" in repr(StreamSpace(Endpoint("https://h/v1", auth=BearerAuth(TOKEN))))
