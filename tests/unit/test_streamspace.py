"""StreamSpace without a socket: arguments, VNC addresses, tokens."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.streamspace_samples import (
    AT,
    CODEC,
    ID,
    LOGIN,
    MOMENT,
    SESSION,
    STATUS,
    Canned,
    client,
    encoded,
)
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    ConfigurationError,
    DecodeError,
    Endpoint,
    InvalidArgumentError,
)
from vcloud._core.client import client_with, session_of
from vcloud.providers.streamspace import (
    Resources,
    Session,
    StreamSpace,
)
from vcloud.providers.streamspace.arguments import go_duration
from vcloud.providers.streamspace.tokens import bearer

# -- arguments -------------------------------------------------------------------------------------

BAD: dict[str, Callable[[StreamSpace], object]] = {
    "2 gigs of memory": lambda c: c.sessions.create("u", "t", resources=Resources(memory="2 gigs")),
    "memory in thousandths": lambda c: c.sessions.create(
        "u", "t", resources=Resources(memory="2000m")
    ),
    "no memory": lambda c: c.sessions.create("u", "t", resources=Resources(memory="0Gi")),
    "negative cpu": lambda c: c.sessions.create("u", "t", resources=Resources(cpu="-1")),
    "cpu in bytes": lambda c: c.sessions.create("u", "t", resources=Resources(cpu="1Gi")),
    "cpu as a number": lambda c: c.sessions.create("u", "t", resources=Resources(cpu=1)),  # type: ignore[arg-type]
    "resources of nothing": lambda c: c.sessions.create("u", "t", resources=Resources()),
    "resources as a dict": lambda c: c.sessions.create("u", "t", resources={"memory": "2Gi"}),  # type: ignore[arg-type]
    "tag with a comma": lambda c: c.sessions.create("u", "t", tags=["a,b"]),
    "empty tag": lambda c: c.sessions.create("u", "t", tags=[""]),
    "tags as one text": lambda c: c.sessions.create("u", "t", tags="ab"),
    "half a second of idleness": lambda c: c.sessions.create("u", "t", idle_timeout=0.5),
    "no idleness": lambda c: c.sessions.create("u", "t", idle_timeout=0),
    "unknown initial state": lambda c: c.sessions.create("u", "t", state="terminated"),
    "nobody": lambda c: c.sessions.create(" ", "t"),
    "no template": lambda c: c.sessions.create("u", ""),
    "filter with a comma": lambda c: c.sessions.list(tags=["a,b"]),
    "page of 101": lambda c: c.sessions.list(limit=101),
    "page of nothing": lambda c: c.agents.list(limit=0),
    "page of True": lambda c: c.templates.list(limit=True),
    "page zero": lambda c: c.users.list(page=0),
    "no log lines": lambda c: c.sessions.ref(ID).logs(tail=0),
    "id that climbs": lambda c: c.sessions.ref(".."),
    "id that is neither text nor number": lambda c: c.agents.ref(7.0),  # type: ignore[arg-type]
    "template without a name": lambda c: c.templates.ref(""),
    "user without a password": lambda c: c.users.create("u", "e@x", ""),
    "login without a password": lambda c: c.login("admin"),
    "login without a name": lambda c: c.login(password="canary"),
}


@pytest.mark.parametrize("call", BAD.values(), ids=BAD)
async def test_bad_argument_is_refused_and_nothing_is_sent(
    call: Callable[[StreamSpace], object],
) -> None:
    made, transport = client()

    async def attempt() -> None:
        outcome = call(made)
        if isinstance(outcome, Awaitable):
            await outcome

    with pytest.raises(InvalidArgumentError) as caught:
        await attempt()
    assert transport.asked == []
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("memory", ["2Gi", "512Mi", "1.5G", "1000000", ".5Gi", "64k"])
@pytest.mark.parametrize("cpu", ["1000m", "2", "0.5"])
def test_quantities_of_kubernetes_are_sent_unchanged(memory: str, cpu: str) -> None:
    assert Resources(memory=memory, cpu=cpu).to_wire() == {"memory": memory, "cpu": cpu}


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(minutes=30), "30m"),
        (1800, "30m"),
        (5400, "1h30m"),
        (45, "45s"),
        (timedelta(days=1), "24h"),
        (3661, "1h1m1s"),
    ],
)
def test_idle_timeout_is_written_as_go_does(duration: timedelta | float, written: str) -> None:
    assert go_duration(duration, "idle_timeout") == written


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_idle_timeout_written_is_the_one_that_is_read(count: int) -> None:
    body = encoded({**SESSION, "idle_timeout": go_duration(count, "idle_timeout")})
    assert CODEC.decode_fast(body, Session).idle_timeout == timedelta(seconds=count)


async def test_list_sends_every_filter_and_nothing_that_was_left_out() -> None:
    made, transport = client({"sessions": [], "pagination": None})
    await made.sessions.list().all()
    await made.sessions.list(
        user="a b",
        template="t",
        platform="docker",
        agent_id="x",
        state="running",
        tags=["p", "q"],
        page=2,
        limit=100,
        sort="user",
        order="asc",
    ).all()
    assert [url for _, url, _ in transport.asked] == [
        "/sessions?page=1",
        "/sessions?page=2&limit=100&user=a%20b&template=t&platform=docker&agent_id=x&state=running&tags=p,q&sort=user&order=asc",
    ]


async def test_delete_accepts_the_documents_204_and_the_published_servers_202_with_a_body() -> None:
    for status, body in ((204, None), (202, {"message": "Session deletion requested"})):
        made, transport = client(body, status)
        await made.sessions.ref(ID).delete()
        await made.sessions.ref(ID).delete(force=True)
        assert [url for _, url, _ in transport.asked] == [
            f"/sessions/{ID}",
            f"/sessions/{ID}?force=true",
        ]


async def test_a_proxys_page_does_not_count_as_a_delete() -> None:
    made, transport = client(None)
    transport.body = b"<html>Please log in</html>"
    with pytest.raises(DecodeError, match=f"DELETE .*/sessions/{ID}: not JSON"):
        await made.sessions.ref(ID).delete()


async def test_log_lines_that_are_null_are_none() -> None:
    made, _ = client({"logs": None})
    assert await made.sessions.ref(ID).logs() == ()


# -- VNC addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "url"),
    [
        (None, f"wss://streamspace.example.com/vnc-viewer/{ID}"),
        ("/vnc-viewer/x", "wss://streamspace.example.com/vnc-viewer/x"),
        (
            "wss://streamspace.example.com/vnc-viewer/x?quality=9",
            "wss://streamspace.example.com/vnc-viewer/x?quality=9",
        ),
        (
            "https://streamspace.example.com/vnc-viewer/x",
            "wss://streamspace.example.com/vnc-viewer/x",
        ),
    ],
)
async def test_vnc_url_is_absolute_however_the_service_names_it(
    named: str | None, url: str
) -> None:
    made, _ = client({**SESSION, "status": {**STATUS, "vnc_url": named}})
    session = await made.sessions.get(ID)
    assert session.vnc_url == url
    assert await session.connect_url() == f"{url}{'&' if '?' in url else '?'}token=tok-canary"
    assert "canary" not in repr(session)


@pytest.mark.parametrize(
    ("base", "root"),
    [
        ("https://host.example/desktops/api/v1", "wss://host.example/desktops"),
        ("https://host.example/a/b/api/v12", "wss://host.example/a/b"),
        ("https://host.example/desktops", "wss://host.example/desktops"),
        ("https://host.example/desktops/api/v1beta", "wss://host.example/desktops/api/v1beta"),
        ("https://host.example/xapi/v1", "wss://host.example/xapi/v1"),
        ("https://host.example/api/v1", "wss://host.example"),
        ("https://host.example", "wss://host.example"),
    ],
)
@pytest.mark.parametrize(
    "named",
    [
        None,
        f"/vnc-viewer/{ID}",
        f"vnc-viewer/{ID}",
        "{root}" + f"/vnc-viewer/{ID}",
        f"wss://host.example/vnc-viewer/{ID}",
        f"https://host.example/vnc-viewer/{ID}",
    ],
)
async def test_behind_a_path_prefix_the_token_stays_below_it(
    base: str, root: str, named: str | None
) -> None:
    answer = {**SESSION, "status": {**STATUS, "vnc_url": named and named.format(root=root)}}
    endpoint = Endpoint(base, auth=BearerAuth("tok-canary"))
    made = client_with(StreamSpace, endpoint, transport=Canned(200, encoded(answer)))
    for session in (await made.sessions.get(ID), made.sessions.ref(ID)):
        assert session.vnc_url == f"{root}/vnc-viewer/{ID}"
        assert await session.connect_url() == f"{root}/vnc-viewer/{ID}?token=tok-canary"


@pytest.mark.parametrize("dots", ["..", ".", "%2e%2E", ".%2e"])
async def test_a_path_that_leads_out_of_its_prefix_gets_no_token(dots: str) -> None:
    answer = {**SESSION, "status": {**STATUS, "vnc_url": f"/desktops/{dots}/vnc-viewer/x"}}
    endpoint = Endpoint("https://host.example/desktops/api/v1", auth=BearerAuth("tok-canary"))
    made = client_with(StreamSpace, endpoint, transport=Canned(200, encoded(answer)))
    session = await made.sessions.get(ID)
    with pytest.raises(DecodeError, match="VNC address .* is not valid"):
        await session.connect_url()
    with pytest.raises(DecodeError, match="VNC address .* is not valid"):
        session.open_vnc()


async def test_connect_url_of_a_handle_needs_no_request() -> None:
    made, transport = client()
    assert (
        await made.sessions.ref(ID).connect_url()
        == f"wss://streamspace.example.com/vnc-viewer/{ID}?token=tok-canary"
    )
    assert transport.asked == []


@pytest.mark.parametrize(
    "named",
    [
        "wss://evil.example.com/x",
        "ws://streamspace.example.com/x",
        "wss://streamspace.example.com.evil/x",
    ],
)
async def test_token_is_not_given_to_another_host_or_over_plain_text(named: str) -> None:
    made, _ = client({**SESSION, "status": {**STATUS, "vnc_url": named}})
    session = await made.sessions.get(ID)
    with pytest.raises(ConfigurationError) as caught:
        await session.connect_url()
    assert "canary" not in str(caught.value)


# -- tokens ----------------------------------------------------------------------------------------


async def test_login_is_a_secret_and_its_token_is_used_from_then_on() -> None:
    far = {**LOGIN, "expires_at": "2999-01-01T00:00:00.123456789Z"}
    made, transport = client(far, auth=BearerAuth("old"))
    login = await made.login("admin", "pass-canary")
    assert login.token == "tok-canary"
    assert "canary" not in repr(login)
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(login)
    assert (await made.sessions.ref(ID).connect_url()).endswith("token=tok-canary")
    assert transport.asked == [
        ("POST", "/auth/login", b'{"username":"admin","password":"pass-canary"}')
    ]


async def test_renewal_exchanges_the_token_in_the_published_servers_form() -> None:
    answer = {"token": "new", "expiresAt": "2999-01-01T00:00:00.123456789Z"}
    made, transport = client(answer, dialect="published")
    assert (await made.refresh_token()).user is None
    assert transport.asked == [("POST", "/auth/refresh", b'{"token":"tok-canary"}')]
    assert await bearer(session_of(made)) == "new"


async def test_renewed_token_without_a_password_is_used_until_it_is_refused() -> None:
    made, transport = client({"token": "new", "expires_at": AT})
    await made.refresh_token()
    assert datetime.now(UTC) > MOMENT, "it has long ended, by our clock"
    assert (await made.sessions.ref(ID).connect_url()).endswith("token=new")
    assert len(transport.asked) == 1


async def test_after_a_logout_a_static_token_cannot_be_used() -> None:
    made, transport = client({"message": "Logout successful"})
    await made.logout()
    await made.logout()
    assert len(transport.asked) == 1
    with pytest.raises(ConfigurationError, match="logout"):
        await made.agents.stats()


async def test_login_without_a_user_is_a_configuration_error() -> None:
    for auth in (BearerAuth("tok"), APIKeyAuth("key")):
        made, transport = client(LOGIN, auth=auth)
        with pytest.raises(ConfigurationError):
            await made.login()
        assert transport.asked == []
