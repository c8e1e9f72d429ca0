"""A client that is told in which form its installation answers, and answers in the other one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.either_streamspace import (
    API,
    KINDS,
    VERSION,
    WRONG,
    client,
    login,
    paths,
    serve,
)
from tests.integration.published_server import session
from tests.seeded import SEED
from vcloud import (
    BearerAuth,
    ConfigurationError,
    DecodeError,
    Endpoint,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator
from vcloud.providers.dialect import DialectName
from vcloud.providers.streamspace import StreamSpace

__all__ = ["serve"]

# -- told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_is_told_asks_nothing(
    serve: Callable[..., Any], kind: DialectName
) -> None:
    service = await serve({})
    endpoint = Endpoint(f"{service.url}{API}", auth=BearerAuth("t"))
    environ = {
        "VCLOUD_STREAMSPACE_URL": f"{service.url}{API}",
        "VCLOUD_STREAMSPACE_TOKEN": "t",
    }
    other = KINDS[kind == KINDS[0]]
    variable = {"VCLOUD_STREAMSPACE_DIALECT": kind}
    contrary = {"VCLOUD_STREAMSPACE_DIALECT": other}
    for made in (
        StreamSpace(endpoint, dialect=kind),
        StreamSpace.from_env(environ | variable),
        StreamSpace.from_env(environ | contrary, dialect=kind),
        VCloud(streamspace=endpoint, streamspace_dialect=kind).streamspace,
        VCloud.from_env(environ | variable).streamspace,
        VCloud.from_env(environ | contrary, streamspace_dialect=kind).streamspace,
    ):
        assert made.dialect == kind
        assert made.with_options(timeout=3).dialect == kind
        assert await made.recognise() == kind
    assert StreamSpace.from_env(environ | {"VCLOUD_STREAMSPACE_DIALECT": ""}).dialect is None
    assert service.asked == []


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda e: StreamSpace(e, dialect=WRONG["near"]), "dialect must be .*mean published"),
        (lambda e: StreamSpace(e, dialect=WRONG["number"]), "dialect must be .* not a int"),
        (
            lambda e: VCloud(streamspace=e, streamspace_dialect=WRONG["near"]),
            "streamspace_dialect must be",
        ),
        (lambda e: VCloud(desktops=e, streamspace_dialect="published"), "without streamspace"),
        (
            lambda _: VCloud.from_env(
                {"VCLOUD_DESKTOPS_API_KEY": "k", "VCLOUD_STREAMSPACE_DIALECT": "old"}
            ),
            "VCLOUD_STREAMSPACE_DIALECT must be",
        ),
        (lambda e: StreamSpace(e, **WRONG["keyword"]), "did you mean dialect"),
    ],
)
def test_a_wrong_dialect_is_refused_and_named(
    make: Callable[[Endpoint], object], said: str
) -> None:
    endpoint = Endpoint("https://host.example/api/v1", auth=BearerAuth("t"))
    with pytest.raises(ConfigurationError, match=said):
        make(endpoint)


# -- contradicted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_login_in_the_other_form_contradicts_before_anything_is_sent(
    kind: DialectName,
) -> None:
    other = KINDS[kind == KINDS[0]]
    async with Emulator(rate_limits=False, seed=SEED, streamspace=kind) as emulator:
        base_url = emulator.endpoints()["streamspace"].base_url
        async with StreamSpace(base_url, auth=login(), dialect=other) as streamspace:
            for _ in range(2):
                with pytest.raises(ConfigurationError, match=f'dialect="{kind}".*nothing was sent'):
                    await streamspace.sessions.create("admin", "firefox-browser")
            assert streamspace.dialect is None
        assert paths(emulator) == [f"{API}/auth/login"]


async def test_an_answer_in_the_other_form_is_an_error_and_nothing_is_repeated(
    serve: Callable[..., Any],
) -> None:
    service = await serve({f"{API}/sessions": (200, {"sessions": [session()], "total": 1})})
    async with client(f"{service.url}{API}", dialect="documented") as streamspace:
        with pytest.raises(DecodeError, match='dialect="documented".*dialect="published"'):
            await streamspace.sessions.list().all()
        with pytest.raises(ConfigurationError, match='dialect="published".*nothing was sent'):
            await streamspace.sessions.list().all()
        assert service.asked == [f"{API}/sessions"]


@pytest.mark.parametrize("nothing", [[], None])
async def test_an_empty_list_of_the_other_form_is_empty_and_the_first_session_is_an_error(
    serve: Callable[..., Any], nothing: list[object] | None
) -> None:
    """The server ignores what a documented client filters by: its empty list is always true."""
    service = await serve({f"{API}/sessions": (200, {"sessions": nothing, "total": 0})})
    async with client(f"{service.url}{API}", dialect="documented") as streamspace:
        assert await streamspace.sessions.list(state="running").all() == []
        assert streamspace.dialect == "documented"
        service.answers[f"{API}/sessions"] = (200, {"sessions": [session()], "total": 1})
        with pytest.raises(DecodeError, match='dialect="documented".*dialect="published"'):
            await streamspace.sessions.list(state="running").all()


async def test_an_empty_list_of_the_document_is_an_error_for_a_published_client(
    serve: Callable[..., Any],
) -> None:
    """That client sends no page, so it would take the first of many pages for the whole list."""
    pagination = {"page": 1, "limit": 20, "total": 0, "total_pages": 0}
    listed = {"sessions": [], "pagination": pagination}
    service = await serve({f"{API}/sessions": (200, listed)})
    async with client(f"{service.url}{API}", dialect="published") as streamspace:
        with pytest.raises(DecodeError, match='dialect="documented"'):
            await streamspace.sessions.list().all()
        with pytest.raises(ConfigurationError, match='dialect="documented".*nothing was sent'):
            await streamspace.sessions.list().all()


async def test_a_create_that_was_answered_in_the_other_form_may_have_been_carried_out(
    serve: Callable[..., Any],
) -> None:
    service = await serve({f"{API}/sessions": (202, session(state="pending"))})
    async with client(f"{service.url}{API}", dialect="documented") as streamspace:
        with pytest.raises(DecodeError, match='dialect="published"') as caught:
            await streamspace.sessions.create("admin", "firefox")
    assert caught.value.outcome_unknown
    assert len(service.asked) == 1


@pytest.mark.parametrize("change", ["hibernate", "wake", "force_terminate", "terminate"])
async def test_a_change_that_the_published_server_does_not_carry_out_is_no_success(
    change: str,
) -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace="published") as emulator:
        base_url = emulator.endpoints()["streamspace"].base_url
        async with StreamSpace(base_url, auth=login()) as right:
            token = (await right.login()).token
            created = await right.sessions.create("admin", "firefox-browser")
            running = await created.wait_until("running", poll=0.02)
        auth = BearerAuth(token)
        async with StreamSpace(base_url, auth=auth, dialect="documented") as wrong:
            with pytest.raises(VCloudError, match='dialect="published"'):
                await getattr(wrong.sessions.ref(running.id), change)()
        async with StreamSpace(base_url, auth=auth) as right:
            assert (await right.sessions.get(running.id)).state == "running"


async def test_an_installation_that_changes_its_mind_is_recognised_anew(
    serve: Callable[..., Any],
) -> None:
    listed = {"sessions": [session()], "total": 1}
    service = await serve({f"{API}/sessions": (200, listed)})
    async with client(f"{service.url}{API}") as streamspace:
        assert await streamspace.recognise() == "documented"
        service.answers["/version"] = VERSION
        with pytest.raises(DecodeError, match="it has changed since"):
            await streamspace.sessions.list().all()
        assert streamspace.dialect is None
        assert [one.id for one in await streamspace.sessions.list().all()] == [session()["name"]]
        assert streamspace.dialect == "published"


async def test_a_login_of_an_installation_that_changed_ends_the_call_before_it_is_sent(
    serve: Callable[..., Any],
) -> None:
    answers: dict[str, tuple[int, Any]] = {
        f"{API}/auth/login": (200, {"token": "one", "expires_at": "2999-01-01T00:00:00Z"})
    }
    service = await serve(answers)
    async with client(f"{service.url}{API}", auth=login()) as streamspace:
        assert await streamspace.recognise() == "documented"
        answers[f"{API}/auth/login"] = (200, {"token": "2", "expiresAt": "2999-01-01T00:00:00Z"})
        answers[f"{API}/sessions"] = (401, {"error": "Session expired or invalidated"})
        with pytest.raises(ConfigurationError, match="it has changed since"):
            await streamspace.sessions.create("u", "t")
        assert service.asked.count(f"{API}/sessions") == 1
        assert streamspace.dialect == "published"
