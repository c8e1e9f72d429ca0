"""Which dialect an installation speaks, by what it answers.

| asked | published | documented |
|---|---|---|
| ``POST /auth/login``, where the client logs in | ``expiresAt`` | ``expires_at`` |
| ``GET /version``, beside the API | ``api``, ``phase``, ``version`` | |
| ``GET /auth/setup/status`` | ``setupRequired``, ``adminExists`` | anything else |

The next row is asked where the row above does not decide. The last two need no login, and are asked
without credentials. If the last one has no answer, or one that is about the moment (a 5xx, a 429),
that is an error.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from vcloud._core.auth import Auth
from vcloud._core.decoding.plain_json import UNREADABLE, loads
from vcloud._core.request import Request
from vcloud._core.retry import RetryPolicy
from vcloud._core.session import Session
from vcloud.auth import BearerAuth
from vcloud.errors import (
    APIError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    LimitExceededError,
    TransportError,
    VCloudError,
)
from vcloud.providers.streamspace.calls import DialectName
from vcloud.providers.streamspace.errors import UnrecognisedError

__all__ = ["REFRESH", "of_login", "recognised", "spelling_of"]

#: The path of the login, and of the exchange of a token.
LOGIN: Final = "/auth/login"
REFRESH: Final = "/auth/refresh"

# These need no login, so they do without credentials: the first one lies outside of the base URL.
# A bucket of their own: those without credentials would otherwise count as logins.
_VERSION: Final = Request("GET", "/version", authenticated=False, bucket="recognition", slot=False)
_SETUP: Final = Request(
    "GET", "/auth/setup/status", authenticated=False, bucket="recognition", slot=False
)
_ONCE: Final = RetryPolicy(attempts=1)
#: The end of a base URL that names an API.
_API: Final = re.compile(r"/api/v[0-9]+\Z")
#: Statuses that are about the moment, and say nothing of the service.
_TRANSIENT: Final = frozenset({408, 421, 425, 429})
#: Keys that only one of the two writes, in an answer or in the items of its list.
_PUBLISHED: Final = frozenset(
    {"activeConnections", "agentId", "commandId", "expiresAt", "fullName", "persistentHome"}
)
_DOCUMENTED: Final = frozenset(
    {"agent_id", "expires_at", "pagination", "persistent_home", "total_agents", "vnc_url"}
)
#: Keys of the database's row, with which the published server answers a change of tags.
_ROW: Final = frozenset({"template_name", "user_id"})


async def recognised(session: Session) -> DialectName:
    """The dialect of an installation.

    Raises:
        UnrecognisedError: it could not be asked.
        ConfigurationError: the base URL lacks the path of the API.
        VCloudError: the login failed.
    """
    if _logs_in(session.auth):
        try:
            await session.authenticate(Request("GET", "/"))
        except (APIError, DecodeError) as error:
            await _explain_base_url(session, error)
            raise
        except ConnectError as error:
            raise _unrecognised(session, error) from error
        if (found := of_login(session.auth)) is not None:
            return found
    if await _is_version(session):
        await _check_base_url(session)
        return "published"
    if await _is_setup(session):
        return "published"
    if await _is_elsewhere(session):
        raise _wrong_base_url(session)
    return "documented"


def _logs_in(auth: Auth) -> bool:
    return isinstance(auth, BearerAuth) and auth.credentials is not None


def of_login(auth: Auth) -> DialectName | None:
    """What the answer of a strategy's last login shows; None: nothing."""
    if not isinstance(auth, BearerAuth) or auth.credentials is None:
        return None
    # Another path is that of another service.
    if auth.credentials.path != LOGIN or auth.expiry_field is None:
        return None
    return "published" if auth.expiry_field == "expiresAt" else "documented"


async def _is_version(session: Session) -> bool:
    """Whether ``/version`` beside the API is the published server's.

    It is asked once: where a gateway does not route it, nothing that it answers counts.
    """
    try:
        answer = await session.with_options(retry=_ONCE).send(_VERSION, root=True)
    except (APIError, DecodeError, LimitExceededError, TransportError):
        return False
    found = _object(answer.body)
    return all(isinstance(found.get(name), str) for name in ("api", "phase", "version"))


async def _is_setup(session: Session, request: Request = _SETUP, *, root: bool = False) -> bool:
    """Whether the path of the set-up is the published server's.

    Raises:
        UnrecognisedError: there was no answer, or it says nothing of the service.
    """
    failure: VCloudError
    try:
        answer = await session.send(request, root=root)
    except (DecodeError, LimitExceededError):
        return False
    except APIError as error:
        if error.status < 500 and error.status not in _TRANSIENT:
            return False
        failure = error
    except TransportError as error:
        failure = error
    else:
        found = _object(answer.body)
        return isinstance(found.get("setupRequired"), bool) and "adminExists" in found
    raise _unrecognised(session, failure) from failure


def _unrecognised(session: Session, failure: VCloudError) -> UnrecognisedError:
    return UnrecognisedError(
        f"it cannot be told which StreamSpace {session.base_url} is, so nothing else was sent: "
        f"{failure}"
    )


async def _is_elsewhere(session: Session) -> bool:
    """Whether the published server's API is not at the base URL, but below it."""
    if _has_api(session):
        return False
    below = msgspec.structs.replace(_SETUP, path=f"{_missing_path(session)}{_SETUP.path}")
    try:
        return await _is_setup(session.with_options(retry=_ONCE), below)
    except UnrecognisedError:
        return False


async def _check_base_url(session: Session) -> None:
    """Refuse the address of an installation in place of that of its API.

    Raises:
        ConfigurationError: with the right one.
    """
    if not _has_api(session) and not await _is_setup(session):
        raise _wrong_base_url(session)


async def _explain_base_url(session: Session, error: VCloudError) -> None:
    """Say that the base URL is wrong, if that is why a login failed.

    Raises:
        ConfigurationError: with the right one.
    """
    status = error.status if isinstance(error, APIError) else 200
    if status in {200, 301, 302, 303, 307, 308, 404, 405} and await _is_elsewhere(session):
        raise _wrong_base_url(session) from None


def _has_api(session: Session) -> bool:
    return _API.search(urlsplit(session.base_url).path) is not None


def _missing_path(session: Session) -> str:
    """What a base URL without the path of an API lacks at its end."""
    return "/v1" if session.base_url.endswith("/api") else "/api/v1"


def _wrong_base_url(session: Session) -> ConfigurationError:
    return ConfigurationError(
        f"base_url {session.base_url} is above the API of the installation: "
        f"give {session.base_url}{_missing_path(session)}"
    )


def spelling_of(body: bytes) -> DialectName | None:
    """Which dialect the names in an answer belong to; None: they do not show it.

    Args:
        body: the answer.
    """
    answer = _object(body)
    names = set(answer)
    for inner in answer.values():
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            names.update(inner[0])
    published, documented = bool(names & (_PUBLISHED | _ROW)), bool(names & _DOCUMENTED)
    if published == documented:
        return None
    return "published" if published else "documented"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = loads(body)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}
