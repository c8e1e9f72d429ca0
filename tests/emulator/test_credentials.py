"""The emulator's credentials: unguessable, unless a seed or the environment sets them."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.emulator.realtime_raw import token
from vcloud import APIKeyAuth, AuthenticationError, BearerAuth, Endpoint, HMACAuth, VCloud
from vcloud.emulator import Credentials, Emulator
from vcloud.emulator.__main__ import main
from vcloud.emulator.credentials import variable
from vcloud.emulator.streamspace.catalog import USER
from vcloud.emulator.streamspace.tokens import Tokens

SECRETS = ("computers_secret", "streams_secret", "streamspace_password", "desktops_api_key")


def drawn(emulator: Emulator) -> dict[str, str]:
    """Everything that must be unguessable, by its kind."""
    streamspace = emulator.streamspace
    session = streamspace.add_session()
    desktop = emulator.desktops.add_desktop()
    stream = next(iter(emulator.streams.streams.values()))
    return {
        **{name: getattr(emulator.credentials, name) for name in SECRETS},
        "key": emulator.credentials.computers_key,
        "emulator_token": emulator.credentials.emulator_token,
        "password": streamspace.users[USER].password,
        "token": token(emulator),
        "signature": token(emulator).rpartition(".")[2],
        "user": streamspace.users[USER].id,
        "administrator": streamspace.users["admin"].id,
        "session": session.id,
        "desktop": desktop.id,
        "stream_url": desktop.stream_url,
        "stream": stream.uid,
        "machine": emulator.streams.add_machine(stream.id).uid,
        "visitor": emulator.streams.add_user().id,
    }


def test_two_emulators_share_no_secret() -> None:
    found = []
    for _ in range(2):
        # Seeding the shared generator reveals nothing either.
        random.seed(0)
        found.append(drawn(Emulator(machines=2)))
    assert {name for name, value in found[0].items() if value == found[1][name]} == set()


def test_keys_are_long_enough() -> None:
    given = Credentials.drawn()
    for name in (*SECRETS, "emulator_token"):
        digits = re.sub("^[a-z]k_", "", getattr(given, name))
        assert len(digits) >= 32, name
        int(digits, 16)


def test_machines_keep_their_numbers() -> None:
    assert list(Emulator(machines=3).computers.machines) == ["100", "101", "102"]


def test_equal_seeds_give_equal_emulators() -> None:
    from vcloud.emulator import Clock

    def of(seed: int | str) -> dict[str, str]:
        return drawn(Emulator(clock=Clock.stopped(1e9), seed=seed))

    for seed in (7, "seven"):
        first, second = of(seed), of(seed)
        # Its dates are the day's.
        for name in ("token", "signature"):
            del first[name], second[name]
        assert first == second
    one, two = of(7), of(8)
    assert {name for name, value in one.items() if value == two[name]} == set()


def test_ids_do_not_reveal_keys_of_the_same_seed() -> None:
    """Clients see the ids, which must not reveal the keys of the same seed."""
    emulator = Emulator(seed=0)
    first = random.Random(0).randbytes(10).hex()
    assert first not in emulator.credentials.computers_key


def test_seed_is_refused_for_real_desktops() -> None:
    with pytest.raises(ValueError, match="must not follow from a seed"):
        Emulator(backend="x11", allow_exec=True, seed=1)
    assert main(["--backend", "x11", "--allow-exec", "--seed", "1", "--port", "0"]) == 1


def test_no_secret_is_printed() -> None:
    given = Credentials.drawn()
    for name in (*SECRETS, "emulator_token"):
        assert getattr(given, name) not in repr(given)


async def test_given_credentials_are_used() -> None:
    given = Credentials.drawn()
    async with Emulator(credentials=given) as emulator, VCloud(**emulator.endpoints()) as cloud:
        assert emulator.env()["VCLOUD_COMPUTERS_SECRET"] == given.computers_secret
        assert emulator.admin_token is None
        await cloud.computers.machines.list().first()
        await cloud.streamspace.users.list().first()


# -- the environment of `python -m vcloud.emulator` ------------------------------------------------

GIVEN = {
    "VCLOUD_COMPUTERS_KEY": "ak_mine",
    "VCLOUD_COMPUTERS_SECRET": "sk_canary-computers",
    "VCLOUD_STREAMS_KEY": "ak_other",
    "VCLOUD_STREAMS_SECRET": "sk_canary-streams",
    "VCLOUD_STREAMSPACE_USERNAME": "root",
    "VCLOUD_STREAMSPACE_PASSWORD": "canary-password",
    "VCLOUD_STREAMSPACE_TOKEN": "canary-token",
    "VCLOUD_DESKTOPS_API_KEY": "ck_canary",
}


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[dict[str, str]]:
    """Run the emulator as in a container; the variables that it prints, and the rest as `#`."""
    command = [sys.executable, "-m", "vcloud.emulator", "--port", "0", *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("VCLOUD_")}
    with subprocess.Popen(
        command, env={**plain, **environment}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        found = {"#": ""}
        try:
            for line in process.stdout:
                name, _, value = line.strip().removeprefix("export ").partition("=")
                found[name if line.startswith("export ") else "#"] = value or line
                if name == "VCLOUD_STREAMSPACE_URL":
                    break
            yield found
        finally:
            process.terminate()


async def test_credentials_of_the_environment_work_and_are_not_printed() -> None:
    with started(**GIVEN) as printed:
        assert not GIVEN.keys() & printed.keys()
        assert all(name in printed["#"] for name in GIVEN)
        assert "canary" not in str(printed)
        async with VCloud.from_env({**printed, **GIVEN}) as cloud:
            assert await cloud.computers.machines.list().first()
            assert await cloud.streams.applications.list().first()
            assert await cloud.streamspace.users.list().first()
            await cloud.desktops.launch(lifetime=3600)
        url = printed["VCLOUD_STREAMSPACE_URL"]
        for auth in (BearerAuth("canary-token"), BearerAuth.login("root", "canary-password")):
            async with VCloud(streamspace=Endpoint(url, auth=auth)) as cloud:
                names = [user.username async for user in cloud.streamspace.users.list()]
                assert names == ["root", USER]
        async with VCloud(
            computers=Endpoint(printed["VCLOUD_COMPUTERS_URL"], auth=HMACAuth("ak_mine", "no")),
            streamspace=Endpoint(url, auth=BearerAuth("canary-tokem")),
        ) as cloud:
            with pytest.raises(AuthenticationError):
                await cloud.computers.machines.list().first()
            with pytest.raises(AuthenticationError):
                await cloud.streamspace.users.list().first()


async def test_credentials_that_the_environment_lacks_are_drawn_and_printed() -> None:
    with started(VCLOUD_DESKTOPS_API_KEY="ck_canary", VCLOUD_COMPUTERS_KEY="") as printed:
        assert "VCLOUD_DESKTOPS_API_KEY" not in printed
        assert len(printed["VCLOUD_COMPUTERS_SECRET"]) > 32
        key = {"VCLOUD_DESKTOPS_API_KEY": "ck_canary"}
        async with VCloud.from_env({**printed, **key}) as cloud:
            assert await cloud.computers.machines.list().first()
            await cloud.desktops.launch(lifetime=3600)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"VCLOUD_COMPUTERS_KEY": "ak"},
            "has VCLOUD_COMPUTERS_KEY, but not VCLOUD_COMPUTERS_SECRET",
        ),
        ({"VCLOUD_STREAMS_SECRET": "s"}, "has VCLOUD_STREAMS_SECRET, but not VCLOUD_STREAMS_KEY"),
        (
            {
                **{f"VCLOUD_{name}_KEY": "ak" for name in ("COMPUTERS", "STREAMS")},
                "VCLOUD_COMPUTERS_SECRET": "canary-1",
                "VCLOUD_STREAMS_SECRET": "canary-2",
            },
            "one key has one secret",
        ),
    ],
)
def test_key_without_its_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, str],
    said: str,
) -> None:
    for name in [name for name in os.environ if name.startswith("VCLOUD_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["--port", "0"]) == 1
    written = capsys.readouterr().err
    assert said in written
    assert "canary" not in written


def test_seed_of_the_command_line_works_as_that_of_the_constructor() -> None:
    with started("--seed", "7") as printed:
        same = Credentials.drawn("7")
        assert printed[variable("computers_secret")] == same.computers_secret
        assert printed[variable("desktops_api_key")] == same.desktops_api_key


async def test_embedded_emulator_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test must not depend on the shell that it is started from."""
    monkeypatch.setenv("VCLOUD_DESKTOPS_API_KEY", "ck_canary")
    async with Emulator() as emulator:
        endpoint = Endpoint(f"{emulator.url}/v1", auth=APIKeyAuth("ck_canary"))
        async with VCloud(desktops=endpoint) as cloud:
            with pytest.raises(AuthenticationError):
                await cloud.desktops.launch(lifetime=3600)


# -- a token that was given ------------------------------------------------------------------------


async def test_given_token_can_be_revoked() -> None:
    from attrs import evolve

    given = evolve(Credentials.drawn(), streamspace_token="canary")
    for end in ("revoke", "revoke_all"):
        async with Emulator(credentials=given) as emulator:
            tokens: Tokens = emulator.streamspace.tokens
            assert tokens.check("canary") == "admin"
            emulator.clock.advance(10**8)
            assert tokens.check("canary") == "admin"
            tokens.revoke("canary") if end == "revoke" else tokens.revoke_all()
            with pytest.raises(Exception, match="AUTH_TOKEN_INVALID"):
                tokens.check("canary")
