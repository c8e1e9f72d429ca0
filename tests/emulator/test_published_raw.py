"""The emulated published StreamSpace over its socket: what all answers share, and its logins.

What is expected was seen on the server itself.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest

from tests.emulator.published_raw import PASSWORD, Api, published
from vcloud.emulator import Clock, Emulator

pytestmark = pytest.mark.asyncio

HOUR = 3600.0
NOT_KEPT = "no-store, no-cache, must-revalidate"
KEPT = "public, max-age=300"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with published() as found:
        yield found


# -- what tells it apart ---------------------------------------------------------------------------


async def test_health_and_version_need_no_login(api: Api) -> None:
    health = await api("GET", "/health", root=True, Authorization=None)
    assert health.json == {"service": "streamspace-api", "status": "healthy"}
    version = await api("GET", "/version", root=True, Authorization=None)
    assert version.json == {"api": "v1", "phase": "2.2", "version": "v0.1.0"}
    setup = await api("GET", "/auth/setup/status", Authorization=None)
    assert set(setup.json) == {"setupRequired", "adminExists", "hasPassword", "message"}
    assert setup.json["adminExists"] is True


async def test_its_own_document_has_paths_that_do_not_exist(api: Api) -> None:
    document = await api("GET", "/api/openapi.yaml", root=True, Authorization=None)
    assert document.headers["Content-Type"] == "application/x-yaml"
    assert b"/api/v1/sessions/{name}/hibernate:" in document.body
    assert b"/api/v1/agents/ws:" in document.body
    assert (await api("GET", "/agents/ws")).status == 404


async def test_the_document_of_streamspace_is_served_unless_it_is_asked_for() -> None:
    async with Emulator() as emu, aiohttp.ClientSession() as http:
        async with http.get(f"{emu.url}/version") as response:
            assert response.status == 404
        with pytest.raises(RuntimeError, match=r"use emulator\.streamspace, or"):
            emu.published_streamspace  # noqa: B018 - reading it is the mistake
    with pytest.raises(RuntimeError, match=r"use emulator\.published_streamspace"):
        Emulator(streamspace="published").streamspace  # noqa: B018 - reading it is the mistake
    with pytest.raises(ValueError, match=r"documented, published, not 'publised' \(did you mean"):
        Emulator(streamspace="publised")


# -- headers ---------------------------------------------------------------------------------------


async def test_every_answer_has_the_servers_headers_and_no_limits(api: Api) -> None:
    answer = await api("GET", "/sessions")
    assert re.fullmatch(UUID, answer.headers["X-Request-ID"])
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "'nonce-" in answer.headers["Content-Security-Policy"]
    assert not [name for name in answer.headers if "ratelimit" in name.lower()]
    again = await api("GET", "/sessions")
    for name in ("X-Request-ID", "Content-Security-Policy"):
        assert answer.headers[name] != again.headers[name]


@pytest.mark.parametrize(
    ("method", "path", "kept"),
    [
        ("GET", "/sessions", KEPT),
        ("GET", "/templates/firefox-browser", KEPT),
        ("GET", "/admin/agents/nope", KEPT),
        ("GET", "/sessions/nope", NOT_KEPT),
        ("GET", "/users/me", NOT_KEPT),
        ("GET", "/auth/setup/status", NOT_KEPT),
        ("DELETE", "/sessions/nope", NOT_KEPT),
        ("GET", "/sessions?user=a--b", f"{NOT_KEPT}, private"),
    ],
)
async def test_lists_may_be_kept_and_single_sessions_not(
    api: Api, method: str, path: str, kept: str
) -> None:
    assert (await api(method, path)).headers["Cache-Control"] == kept


async def test_answers_are_compressed_on_request_except_logins(api: Api) -> None:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(
            f"{api.emu.url}/api/v1/sessions",
            headers={"Authorization": f"Bearer {api.token}", "Accept-Encoding": "gzip, deflate"},
        ) as response,
    ):
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(await response.read()) == b'{"sessions":[],"total":0}'
    setup = await api("GET", "/auth/setup/status", Accept_Encoding="gzip")
    assert "Content-Encoding" not in setup.headers


# -- paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/Sessions"),
        ("GET", "/sessions/x/logs"),
        ("PATCH", "/sessions"),
        ("HEAD", "/sessions"),
        ("GET", "/sessions/a%2Fb"),
        ("GET", "/sessions//x"),
    ],
)
async def test_what_is_nowhere_is_404_in_text_also_another_method(
    api: Api, method: str, path: str
) -> None:
    answer = await api(method, path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/plain")
    assert answer.body == (b"" if method == "HEAD" else b"404 page not found")
    assert (await api(method, path, Accept_Encoding="gzip")).body == b""


@pytest.mark.parametrize("name", ["a%25b", "%C3%A9", "a..b", "a%20b"])
async def test_names_are_decoded(api: Api, name: str) -> None:
    answer = await api("GET", f"/sessions/{name}")
    assert answer.error == (404, "Session not found")


async def test_a_final_slash_is_redirected(api: Api) -> None:
    answer = await api("GET", "/sessions/?user=a&x=1")
    assert (answer.status, answer.headers["Location"]) == (301, "/api/v1/sessions?user=a&x=1")
    assert b"user=a&amp;x=1" in answer.body
    answer = await api("POST", "/sessions/", {})
    assert (answer.status, answer.headers["Location"]) == (307, "/api/v1/sessions")


async def test_methods_of_browsers_and_unknown_ones(api: Api) -> None:
    answer = await api("OPTIONS", "/sessions", Authorization=None)
    assert (answer.status, answer.body) == (204, b"")
    answer = await api("TRACE", "/sessions")
    assert answer.error == (405, "Method not allowed")
    assert answer.headers["Allow"].startswith("GET, POST")


# -- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("a--b", "SQL"),
        ("a%23b", "SQL"),
        ("select+x+from", "SQL"),
        ("JavaScript:", "SQL"),
        ("R%26D", "command"),
        ("a%3Bb", "command"),
        ("a%7Cb", "command"),
        ("%60x", "command"),
        ("(a)", "LDAP"),
    ],
)
async def test_values_of_the_query_that_look_dangerous_are_refused_first(
    api: Api, value: str, why: str
) -> None:
    for path in ("/sessions", "/nothing", "/agents/connect"):
        answer = await api("GET", f"{path}?user={value}", Authorization=None)
        assert answer.error == (400, "Invalid query parameter")
        assert answer.json["message"] == f"Parameter 'user': potential {why} injection detected"


@pytest.mark.parametrize("value", ["a*b", "1%2F2", "a-b", "%C3%A9", ""])
async def test_other_values_of_the_query_are_let_through(api: Api, value: str) -> None:
    assert (await api("GET", f"/sessions?user={value}")).status == 200


async def test_other_filters(api: Api) -> None:
    assert (await api("GET", "/sessions?user=a%00b")).json["message"].endswith("null byte detected")
    assert (await api("GET", "/sessions/..%2fx")).error == (400, "Invalid path")
    answer = await api("POST", "/sessions", raw=BytesIO(b"x" * (10 * 2**20 + 1)))
    assert answer.error == (413, "Request entity too large")
    assert answer.json["max_size_mb"] == 10


async def test_malformed_parameters_are_left_out(api: Api) -> None:
    api.session()
    for query in ("user=%zz", "user=a;b", "&", "user"):
        answer = await api("GET", f"/sessions?{query}")
        assert answer.json["total"] == 1
    assert (await api("GET", "/sessions?user=a&user=admin")).json["total"] == 0
    assert (await api("GET", "/sessions?user=ad%6din")).json["total"] == 1


# -- logins ----------------------------------------------------------------------------------------


async def test_a_login_answers_in_its_own_spelling(api: Api) -> None:
    first = (await api.login()).json
    assert set(first) == {"token", "expiresAt", "user"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", first["expiresAt"])
    assert first["user"]["fullName"] == "Administrator"
    assert first["user"]["id"] == first["user"]["username"] == "admin"
    assert "lastLogin" in (await api.login()).json["user"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"username": 1}', b'{"username": "admin"}'])
async def test_what_is_no_login_is_an_invalid_body(api: Api, raw: bytes) -> None:
    answer = await api("POST", "/auth/login", raw=raw)
    assert answer.error == (400, "Invalid request body")


async def test_a_wrong_login_and_a_disabled_user(api: Api) -> None:
    assert (await api.login("admin", "x")).error == (401, "Invalid credentials")
    assert (await api.login("nobody", "x")).error == (401, "Invalid credentials")
    ann = await api.as_user("ann")
    api.space.users["ann"].active = False
    assert (await api.login("ann", PASSWORD)).error == (401, "Invalid credentials")
    assert (await ann("GET", "/sessions")).error == (403, "User account is disabled")
    del api.space.users["ann"]
    assert (await ann("GET", "/sessions")).error == (401, "User not found")


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, "Authorization header required"),
        ("", "Authorization header required"),
        ("Basic x", "Invalid authorization header format. Use: Bearer <token>"),
        ("bearer x", "Invalid authorization header format. Use: Bearer <token>"),
        ("Bearer x", "Invalid or expired token"),
    ],
)
async def test_a_request_without_a_valid_token_is_401(
    api: Api, header: str | None, error: str
) -> None:
    answer = await api("GET", "/sessions", Authorization=header)
    assert answer.error == (401, error)
    assert not answer.json.keys() & {"code", "timestamp"}
    refused = await api("GET", "/ws/sessions", Authorization=header, extra=SOCKET)
    assert (refused.status, refused.body) == (401, b"")


async def test_a_token_ends_after_a_day_and_not_with_a_logout() -> None:
    async with published(Clock.stopped()) as api:
        logout = await api("POST", "/auth/logout")
        assert logout.json == {"message": "Logged out successfully"}
        assert (await api("GET", "/sessions")).status == 200
        api.emu.advance(23 * HOUR)
        renewed = await api("POST", "/auth/refresh", {"token": api.token}, Authorization=None)
        assert {"quota", "groups"} <= set(renewed.json["user"])
        api.emu.advance(2 * HOUR)
        ended = await api("GET", "/sessions")
        assert ended.json["message"].endswith("token is expired")
        assert (await api("POST", "/auth/refresh", {"token": api.token})).status == 401
        api.token = renewed.json["token"]
        assert (await api("GET", "/sessions")).status == 200


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("x", "token contains an invalid number of segments"),
        ("a.b.c", "could not base64 decode header: illegal base64 data at input byte 0"),
        ("ab!.b.c", "could not base64 decode header: illegal base64 data at input byte 2"),
        ("ab.b.c", "signature is invalid"),
    ],
)
async def test_what_is_no_token_is_named(api: Api, token: str, why: str) -> None:
    answer = await api("GET", "/sessions", Authorization=f"Bearer {token}")
    assert answer.json["message"].endswith(why)


async def test_a_forged_token_is_refused(api: Api) -> None:
    forged = f"{api.token[:-3]}abc"
    answer = await api("POST", "/auth/refresh", {"token": forged})
    assert answer.error == (401, "Invalid or expired token")
    assert answer.json["message"].endswith("signature is invalid")
    missing = await api("POST", "/auth/refresh", {})
    assert missing.error == (400, "Invalid request")
    assert "RefreshTokenRequest.Token" in missing.json["message"]


@pytest.mark.parametrize("dashes", [True, False])
async def test_tokens_with_dashes_can_be_had(api: Api, dashes: bool) -> None:
    api.space.tokens.with_dashes = dashes
    token = (await api.login()).json["token"]
    assert ("--" in token) is dashes
    answer = await api("GET", f"/sessions?token={token}", Authorization=None)
    assert answer.status == (400 if dashes else 401)
