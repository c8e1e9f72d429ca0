"""A refused login that processes share: one asks, and the others have its answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.unit.auth_service import NOW, SECRETS, Service
from tests.unit.token_files import URL, content, of, process, token_of, written
from vcloud import AuthenticationError, BearerAuth, ServerError, VCloudError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def refusing(**more: object) -> Service:
    service = Service()
    service.failure = AuthenticationError(
        "Invalid username or password",
        status=401,
        code="INVALID_CREDENTIALS",
        provider="streamspace",
        **more,  # type: ignore[arg-type]
    )
    return service


async def refusal_of(auth: BearerAuth, service: Service) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        await auth.acquire(service, now=NOW)
    return caught.value


def older(path: Path, seconds: float) -> None:
    """Let all that is stored be older."""
    stored = content(path)
    for record in stored["tokens"].values():
        record["since_boot"] -= seconds
        record["wall"] -= seconds
    written(path, json.dumps(stored).encode().replace(b'": ', b'":'))


async def test_a_refused_password_is_not_sent_by_the_other_processes(path: Path) -> None:
    service = refusing()
    first = await refusal_of(process(path), service)
    assert not first.remembered
    second = await refusal_of(process(path), service)
    assert service.logins == 1
    assert second.remembered
    assert (second.status, second.code) == (401, "INVALID_CREDENTIALS")
    assert str(second) == (
        f"streamspace: POST {URL}/auth/login was refused: 401, INVALID_CREDENTIALS: Invalid "
        "username or password; this is remembered for 30 s, so nothing was sent"
    )
    assert second.user_message == first.user_message
    stored = of(path)
    assert not any(secret in stored for secret in (*SECRETS, "admin", "desktops.example"))


async def test_those_that_wait_for_the_login_have_its_refusal(path: Path) -> None:
    service = refusing()
    service.gate.clear()
    tasks = [asyncio.create_task(refusal_of(process(path), service)) for _ in range(4)]
    await asyncio.sleep(0.3)
    assert service.logins == 1
    service.gate.set()
    assert sorted([one.remembered for one in await asyncio.gather(*tasks)]) == [False, *[True] * 3]
    assert service.logins == 1


async def test_another_password_is_sent_and_its_token_is_kept(path: Path) -> None:
    await refusal_of(process(path, "a wrong one"), refusing())
    service = Service()
    assert await token_of(process(path), service) == "Bearer tok-1"
    assert (await refusal_of(process(path, "a wrong one"), service)).remembered
    assert await token_of(process(path), service) == "Bearer tok-1"
    assert service.logins == 1


async def test_it_is_forgotten_when_30_seconds_have_passed_since_the_answer(path: Path) -> None:
    await refusal_of(process(path), refusing())
    older(path, 20)
    service, second = Service(), process(path)
    assert (await refusal_of(second, service)).remembered
    older(path, 11)
    assert await token_of(process(path), service) == "Bearer tok-1"
    # The second one knows for how long it counts, and not for 30 seconds more.
    assert second._shared is not None  # noqa: SLF001
    assert 9 < second._shared.hold <= 10  # noqa: SLF001


@pytest.mark.parametrize(
    "failure",
    [
        ServerError("no", status=503),
        AuthenticationError("no", status=401, outcome_unknown=True),
        VCloudError("no"),
    ],
    ids=["5xx", "unknown", "no answer"],
)
async def test_what_says_nothing_of_the_password_is_not_shared(
    path: Path, failure: VCloudError
) -> None:
    service = Service()
    service.failure = failure
    with pytest.raises(type(failure)):
        await process(path).acquire(service, now=NOW)
    service.failure = None
    assert await token_of(process(path), service) == "Bearer tok-2"
