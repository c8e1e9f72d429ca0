"""Which of its two forms an installation answers in: recognised, told, or contradicted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.either_streamspace import (
    API,
    HTML,
    KINDS,
    REDIRECT,
    SETUP,
    VERSION,
    client,
    login,
    paths,
    serve,
)
from tests.integration.published_server import session
from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud import (
    Attempt,
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    Observer,
    Request,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.dialect import DialectName
from vcloud.providers.streamspace import StreamSpace, UnrecognisedError

__all__ = ["serve"]

# -- recognised ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_login_shows_it_and_nothing_else_is_asked(kind: DialectName) -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace=kind) as emulator:
        async with StreamSpace(
            emulator.endpoints()["streamspace"].base_url, auth=login()
        ) as streamspace:
            assert streamspace.dialect is None
            assert await streamspace.recognise() == kind
            assert streamspace.dialect == kind
            await streamspace.sessions.list().all()
        assert paths(emulator) == [f"{API}/auth/login", f"{API}/sessions"]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_explicit_login_shows_it_too(kind: DialectName) -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace=kind) as emulator:
        base_url = emulator.endpoints()["streamspace"].base_url
        async with StreamSpace(base_url, auth=BearerAuth("a.given.token")) as streamspace:
            await streamspace.login(ADMIN, ADMIN_PASSWORD)
            assert streamspace.dialect == kind
        assert len(emulator.calls) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_with_a_token_asks_the_version_first(kind: DialectName) -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace=kind) as emulator:
        endpoint = emulator.endpoints()["streamspace"]
        async with StreamSpace(endpoint) as streamspace:
            token = (await streamspace.login()).token
        emulator.calls.clear()
        async with StreamSpace(endpoint.base_url, auth=BearerAuth(token)) as streamspace:
            await asyncio.gather(*(streamspace.sessions.list().all() for _ in range(20)))
            assert streamspace.dialect == kind
            assert await streamspace.with_options(deadline=5).recognise() == kind
        assert paths(emulator).count("/version") == 1
        assert paths(emulator).count(f"{API}/auth/setup/status") == (kind == "documented")


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"/version": VERSION}, "published"),
        ({f"{API}/auth/setup/status": SETUP}, "published"),
        ({"/version": REDIRECT, f"{API}/auth/setup/status": SETUP}, "published"),
        ({"/version": HTML, f"{API}/auth/setup/status": SETUP}, "published"),
        ({"/version": (503, "no backend"), f"{API}/auth/setup/status": SETUP}, "published"),
        ({"/version": (200, {"major": "1", "minor": "31"})}, "documented"),
        ({"/version": (200, [1])}, "documented"),
        ({"/version": (200, {"api": 1, "phase": None, "version": {}})}, "documented"),
        ({"/version": REDIRECT, f"{API}/auth/setup/status": REDIRECT}, "documented"),
        ({"/version": HTML, f"{API}/auth/setup/status": HTML}, "documented"),
        ({f"{API}/auth/setup/status": (401, {"error": "x"})}, "documented"),
        ({f"{API}/auth/setup/status": (200, {"setupRequired": "no"})}, "documented"),
        ({}, "documented"),
    ],
)
async def test_what_is_not_the_published_servers_answer_is_documented(
    serve: Callable[..., Any], answers: dict[str, tuple[int, Any]], kind: DialectName
) -> None:
    service = await serve(answers)
    async with client(f"{service.url}{API}") as streamspace:
        assert await streamspace.recognise() == kind
        assert await streamspace.recognise() == kind
    assert service.asked[0] == "/version"
    assert len(service.asked) == len(set(service.asked)), "each path is asked once"
    assert service.credentials == [None] * len(service.asked)


async def test_a_path_prefix_is_kept(serve: Callable[..., Any]) -> None:
    service = await serve({"/desktops/version": VERSION})
    async with client(f"{service.url}/desktops{API}") as streamspace:
        assert await streamspace.recognise() == "published"
    assert service.asked == ["/desktops/version"]


async def test_a_login_elsewhere_shows_nothing(serve: Callable[..., Any]) -> None:
    service = await serve(
        {f"{API}/sso/token": (200, {"token": "t", "expiresAt": "2999-01-01T00:00:00Z"})}
    )
    auth = BearerAuth.login("me", "secret", path="/sso/token")
    async with client(f"{service.url}{API}", auth=auth) as streamspace:
        assert await streamspace.recognise() == "documented"
    assert "/version" in service.asked


async def test_observers_see_what_is_asked(serve: Callable[..., Any]) -> None:
    seen: list[tuple[str, bool]] = []

    class Watching(Observer):
        def ended(self, attempt: Attempt) -> None:
            seen.append((attempt.operation, attempt.error is None))

    service = await serve({"/version": HTML})
    async with client(f"{service.url}{API}", observers=[Watching()]) as streamspace:
        await streamspace.recognise()
    assert seen == [("GET /version", True), ("GET /auth/setup/status", False)]


# -- not reachable ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, ServerError), (502, ServerError), (503, ServerError), (429, VCloudError)],
)
async def test_what_says_nothing_of_the_service_is_an_error_of_its_own(
    serve: Callable[..., Any], status: int, kind: type[Exception]
) -> None:
    service = await serve({f"{API}/auth/setup/status": (status, "later")})
    retry = RetryPolicy(attempts=2, base=0.001, cap=0.01)
    async with client(f"{service.url}{API}", retry=retry) as streamspace:
        with pytest.raises(UnrecognisedError, match="nothing else was sent") as caught:
            await streamspace.sessions.create("u", "t")
        assert isinstance(caught.value.__cause__, kind)
        assert not caught.value.outcome_unknown
        assert streamspace.dialect is None
        assert set(service.asked) == {"/version", f"{API}/auth/setup/status"}
        service.answers[f"{API}/auth/setup/status"] = SETUP
        assert await streamspace.recognise() == "published"


@pytest.mark.parametrize("auth", [login, lambda: BearerAuth("tok-canary")])
async def test_nobody_there_is_an_error_and_no_guess(auth: Callable[[], BearerAuth]) -> None:
    retry = RetryPolicy(attempts=1)
    async with client("http://127.0.0.1:9/api/v1", auth=auth(), retry=retry) as streamspace:
        outcomes = await asyncio.gather(
            *(streamspace.sessions.list().all() for _ in range(5)), return_exceptions=True
        )
        assert {type(one) for one in outcomes} == {UnrecognisedError}
        assert streamspace.dialect is None


async def test_a_deadline_ends_the_question(serve: Callable[..., Any]) -> None:
    service = await serve({"/version": VERSION}, open=False)
    async with client(f"{service.url}{API}") as streamspace:
        with pytest.raises(RequestTimeout, match="which StreamSpace"):
            await streamspace.with_options(deadline=0.1).sessions.get("x")
        service.gate.set()
        assert await streamspace.recognise() == "published"


async def test_a_waiting_task_has_its_own_deadline(serve: Callable[..., Any]) -> None:
    service = await serve({"/version": VERSION}, open=False)
    async with client(f"{service.url}{API}") as streamspace:
        first = asyncio.create_task(streamspace.recognise())
        await asyncio.sleep(0.05)
        with pytest.raises(RequestTimeout):
            await streamspace.with_options(deadline=0.1).recognise()
        service.gate.set()
        assert await first == "published"
    assert len(service.asked) == 1


async def test_when_the_task_that_asks_is_cancelled_another_one_asks(
    serve: Callable[..., Any],
) -> None:
    service = await serve({"/version": VERSION}, open=False)
    async with client(f"{service.url}{API}") as streamspace:
        first, *others = [asyncio.create_task(streamspace.recognise()) for _ in range(10)]
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.sleep(0.05)
        service.gate.set()
        assert await asyncio.gather(*others) == ["published"] * 9
    assert len(service.asked) == 2


async def test_a_wrong_password_is_what_the_first_call_says() -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace="published") as emulator:
        base_url = emulator.endpoints()["streamspace"].base_url
        auth = BearerAuth.login(ADMIN, "wrong-canary")
        async with StreamSpace(base_url, auth=auth) as streamspace:
            with pytest.raises(AuthenticationError, match="database") as caught:
                await streamspace.sessions.list().all()
            assert "canary" not in str(caught.value)
            assert streamspace.dialect is None


# -- the base URL ----------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", [login, lambda: BearerAuth("tok-canary")])
@pytest.mark.parametrize("path", ["", "/api"])
async def test_a_base_url_without_the_api_names_the_right_one(
    auth: Callable[[], BearerAuth], path: str
) -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace="published") as emulator:
        right = emulator.endpoints()["streamspace"].base_url
        assert right is not None
        wrong = right.removesuffix(API) + path
        async with client(wrong, auth=auth()) as streamspace:
            with pytest.raises(ConfigurationError, match=f"give {right}$"):
                await streamspace.sessions.list().all()


async def test_a_gateway_may_leave_the_path_of_the_api_out(serve: Callable[..., Any]) -> None:
    service = await serve({"/version": VERSION, "/auth/setup/status": SETUP})
    async with client(service.url) as streamspace:
        assert await streamspace.recognise() == "published"


async def test_a_documented_service_may_have_any_address(serve: Callable[..., Any]) -> None:
    service = await serve({})
    async with client(f"{service.url}/v2") as streamspace:
        assert await streamspace.recognise() == "documented"


# -- what follows from it --------------------------------------------------------------------------


async def test_a_published_server_has_none_of_the_documented_limits(
    serve: Callable[..., Any],
) -> None:
    made = session(state="pending")
    service = await serve({f"{API}/sessions": (202, made)}, open=False)
    async with client(f"{service.url}{API}", dialect="published") as streamspace:
        creates = [asyncio.create_task(streamspace.sessions.create("u", "t")) for _ in range(30)]
        await asyncio.sleep(0.2)
        assert len(service.asked) == 30, "none waits for the first answer"
        service.gate.set()
        await asyncio.gather(*creates)


@pytest.mark.parametrize("kind", KINDS)
async def test_ping_asks_for_little(kind: DialectName) -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace=kind) as emulator:
        async with StreamSpace(emulator.endpoints()["streamspace"]) as streamspace:
            await streamspace.ping()
            last = emulator.calls[-1]
            assert (last.method, last.path) == (
                "GET",
                f"{API}/templates" if kind == "documented" else f"{API}/users/me",
            )
            path = "*/templates*" if kind == "documented" else "*/users/me"
            emulator.faults.add(f"GET {path}", Fault.html(503), times=None)
            count = len(emulator.calls)
            with pytest.raises(ServerError):
                await streamspace.ping()
            assert len(emulator.calls) == count + 1


async def test_a_strategy_of_ones_own_is_asked_for_nothing(serve: Callable[..., Any]) -> None:
    class Fixed(BearerAuth):
        def headers(self, request: Request, path: str, *, now: float, nonce: str) -> dict[str, str]:
            raise AssertionError

    service = await serve({"/version": VERSION})
    async with client(f"{service.url}{API}", auth=Fixed("t")) as streamspace:
        assert await streamspace.recognise() == "published"
