"""A program's mistakes with secrets, each of which raises.

Its own frames hold none: they are in the environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vcloud import (
    APIKeyAuth,
    Auth,
    BearerAuth,
    Desktops,
    Endpoint,
    HMACAuth,
    Request,
    SharedBudget,
    VagonComputers,
    VCloud,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.desktops import TypeText, from_json

#: The variable that has the secret.
VARIABLE = "SECRET_OF_A_TEST"


class Secret:
    """Returns the secret when it is called; its repr does not show it."""

    def __call__(self, form: str = "{}") -> str:
        return form.format(os.environ[VARIABLE])

    def environ(self, **names: str) -> Mapping[str, str]:
        return {"DATABASE_URL": self(), **{f"VCLOUD_{name}": form for name, form in names.items()}}


secret = Secret()


class OwnAuth(Auth):
    """A strategy of a user's, which hands out plain headers."""

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        return {"X-Token": secret()}


MISTAKES: dict[str, Callable[[], object]] = {
    "hmac_key_and_secret_in_one": lambda: HMACAuth(secret("key:{}"), secret()),
    "hmac_line_break": lambda: HMACAuth("key", secret("{}\n")),
    "hmac_key_is_none": lambda: HMACAuth(None, secret()),  # type: ignore[arg-type]
    "hmac_without_key": lambda: HMACAuth(secret=secret()),  # type: ignore[call-arg]
    "bearer_twice": lambda: BearerAuth(secret("Bearer {}")),
    "bearer_bytes": lambda: BearerAuth(secret().encode()),  # type: ignore[arg-type]
    "login_without_user": lambda: BearerAuth.login("", secret()),
    "login_by_one_word": lambda: BearerAuth.login(password=secret()),  # type: ignore[call-arg]
    "api_key_with_a_nul": lambda: APIKeyAuth(secret("{}\0")),
    "api_key_in_a_wrong_header": lambda: APIKeyAuth(secret(), header="x api key"),
    "url_with_a_password": lambda: Endpoint(secret("https://me:{}@host"), auth=OwnAuth()),
    "url_with_a_key": lambda: Endpoint(secret("https://host/?key={}"), auth=OwnAuth()),
    "url_without_a_scheme": lambda: Endpoint(secret("me:{}@host:port"), auth=OwnAuth()),
    "proxy_of_another_kind": lambda: Endpoint(auth=OwnAuth(), proxy=secret("socks5://me:{}@host")),
    "good_proxy_bad_timeout": lambda: Endpoint(
        auth=OwnAuth(), proxy=secret("http://me:{}@host:1"), timeout=-1
    ),
    "key_in_place_of_auth": lambda: Endpoint(auth=secret()),  # type: ignore[arg-type]
    "unknown_argument": lambda: Endpoint(auth=OwnAuth(), password=secret()),  # type: ignore[call-arg]
    "good_proxy_of_a_client_bad_timeout": lambda: Desktops(
        auth=OwnAuth(), proxy=secret("http://me:{}@host:1"), timeout=-1
    ),
    "proxy_of_a_client_with_an_endpoint": lambda: Desktops(
        Endpoint(auth=OwnAuth()),
        proxy=secret("http://me:{}@host:1"),  # type: ignore[call-overload]
    ),
    "key_in_place_of_an_address": lambda: Desktops(secret("ck:{}"), auth=OwnAuth()),
    "unknown_argument_of_a_client": lambda: Desktops(auth=OwnAuth(), password=secret()),  # type: ignore[call-overload]
    "unknown_argument_of_the_facade": lambda: VCloud(password=secret()),  # type: ignore[call-arg]
    "unknown_option_of_a_facade": lambda: VCloud(desktops=Endpoint(auth=OwnAuth())).with_options(
        proxy=secret()
    ),  # type: ignore[call-arg]
    "proxy_beside_the_environment": lambda: VCloud.from_env(
        secret.environ(COMPUTERS_KEY="k", COMPUTERS_SECRET=secret()),
        proxy=secret("http://me:{}@host:port"),
    ),
    "proxy_of_one_beside_the_environment": lambda: VCloud.from_env(
        secret.environ(COMPUTERS_KEY="k", COMPUTERS_SECRET=secret()),
        computers={"proxy": secret("http://me:{}@host:port")},
    ),
    "endpoint_of_the_environment": lambda: Endpoint.from_env(
        "computers", secret.environ(COMPUTERS_KEY="k", COMPUTERS_SECRET=secret()), timeout=-1
    ),
    "client_of_the_environment": lambda: VagonComputers.from_env(
        secret.environ(COMPUTERS_KEY="k", COMPUTERS_SECRET=secret("{}\n"))
    ),
    "store_with_a_bad_port": lambda: SharedBudget(secret("redis://:{}@host:port")),
    "store_of_another_kind": lambda: SharedBudget(secret("memcached://me:{}@host")),
    "environment_half_set": lambda: VCloud.from_env(
        secret.environ(STREAMS_KEY="k", COMPUTERS_KEY="k", COMPUTERS_SECRET=secret())
    ),
    "environment_with_a_line_break": lambda: VCloud.from_env(
        secret.environ(COMPUTERS_KEY="k", COMPUTERS_SECRET=secret("{}\n"))
    ),
    "environment_with_plain_http": lambda: VCloud.from_env(
        secret.environ(
            STREAMSPACE_URL="http://host.example/api/v1",
            STREAMSPACE_USERNAME="admin",
            STREAMSPACE_PASSWORD=secret(),
        )
    ),
    "environment_with_nothing": lambda: VCloud.from_env(secret.environ()),
    "the_processes_environment": VCloud.from_env,
    "environment_and_a_wrong_observer": lambda: VCloud.from_env(
        secret.environ(COMPUTERS_KEY="k", COMPUTERS_SECRET=secret()),
        observers=[5],  # type: ignore[list-item]
    ),
    "text_with_a_control_character": lambda: TypeText(secret("{}\0")),
    "action_with_an_unknown_field": lambda: from_json(
        {"type": "type", "text": secret(), "speed": 5}
    ),
    "action_of_an_unknown_kind": lambda: from_json({"type": "paste", "text": secret()}),
}


async def with_own_auth(cloud: VCloud) -> object:
    known: dict[str, Any] = dict(emulator_of(cloud).endpoints())
    url = known["computers"].base_url
    async with VCloud(computers=Endpoint(url, auth=OwnAuth())) as own:
        return await own.computers.machines.get("100")


async def with_own_auth_cancelled(cloud: VCloud) -> object:
    emulator = emulator_of(cloud)
    emulator.faults.add("*", Fault.stall_headers(None), times=None)
    known: dict[str, Any] = dict(emulator.endpoints())
    url = known["computers"].base_url
    async with VCloud(computers=Endpoint(url, auth=OwnAuth())) as own, asyncio.timeout(0.1):
        return await own.computers.machines.get("100")


async def with_own_token_scheme(cloud: VCloud) -> None:
    class Scheme(OwnAuth):
        def headers(
            self, request: Request, path: str, *, now: float, nonce: str
        ) -> Mapping[str, str]:
            return {"Authorization": secret("Token {}")}

    known: dict[str, Any] = dict(emulator_of(cloud).endpoints())
    url = known["streamspace"].base_url
    async with VCloud(streamspace=Endpoint(url, auth=Scheme())) as own:
        async with own.streamspace.sessions.ref("1").open_vnc():
            pass


async def with_a_wrong_password(cloud: VCloud) -> object:
    known: dict[str, Any] = dict(emulator_of(cloud).endpoints())
    url = known["streamspace"].base_url
    async with VCloud(streamspace=Endpoint(url, auth=BearerAuth.login("admin", secret()))) as own:
        return await own.streamspace.agents.stats()


_emulators: dict[int, Emulator] = {}


def emulator_of(cloud: VCloud) -> Emulator:
    return _emulators[id(cloud)]


async def typed_in_vain(cloud: VCloud) -> None:
    async with cloud.desktops.launch() as desktop:
        emulator_of(cloud).faults.add("POST *-action", Fault.html(502), times=None)
        await desktop.type(secret())


async def commanded_in_vain(cloud: VCloud) -> object:
    async with cloud.desktops.launch() as desktop:
        emulator_of(cloud).faults.add("POST *-action", Fault.reset_after(), times=None)
        return await desktop.bash(secret("echo {}"))


async def recorded_in_vain(cloud: VCloud) -> object:
    async with cloud.desktops.launch() as desktop:
        emulator_of(cloud).faults.add("POST *-action", Fault.html(502), times=None)
        return await desktop.perform_all([TypeText(secret())])


CALLS: dict[str, Callable[[VCloud], Awaitable[object]]] = {
    "login_with_a_wrong_password": lambda cloud: cloud.streamspace.login("admin", secret()),
    "login_with_a_number": lambda cloud: cloud.streamspace.login(5, secret()),  # type: ignore[arg-type]
    "login_without_user": lambda cloud: cloud.streamspace.login(password=secret()),
    "own_login": with_a_wrong_password,
    "user_with_an_unknown_role": lambda cloud: cloud.streamspace.users.create(
        "name", "name@example.com", secret(), role="king"
    ),
    "user_twice": lambda cloud: cloud.streamspace.users.create(
        "admin", "name@example.com", secret()
    ),
    "user_with_an_unknown_argument": lambda cloud: cloud.streamspace.users.create(
        "name",
        "name@example.com",
        password=secret(),
        nothing=1,  # type: ignore[call-arg]
    ),
    "stream_that_is_not_there": lambda cloud: cloud.streams.streams.ref("0").configure(
        password=secret()
    ),
    "stream_with_an_unknown_setting": lambda cloud: cloud.streams.streams.ref("0").configure(
        password=secret(), resolution="tiny"
    ),
    "own_auth": with_own_auth,
    "own_auth_cancelled": with_own_auth_cancelled,
    "own_scheme": with_own_token_scheme,
    "text_that_is_not_typed": typed_in_vain,
    "command_that_is_lost": commanded_in_vain,
    "actions_that_fail": recorded_in_vain,
    "keys_that_are_none": lambda cloud: cloud.desktops.ref("0").press(secret()),
    "held_keys_that_are_none": lambda cloud: cloud.desktops.ref("0").key_down(secret()),
}


async def call(name: str) -> object:
    """Make one of the calls, against an emulator of its own."""
    async with Emulator(speed=200) as emulator:
        known: dict[str, Any] = dict(emulator.endpoints())
        async with VCloud(**known) as cloud:
            _emulators[id(cloud)] = emulator
            if name == "own_auth":
                emulator.faults.add("*", Fault.truncate(5), times=None)
            return await CALLS[name](cloud)


def run(name: str) -> object:
    """Make one of the mistakes or calls."""
    return asyncio.run(call(name)) if name in CALLS else MISTAKES[name]()


def a_frame_that_shows_it() -> None:
    """For comparison: what the tools print of one that does."""
    shown = secret()
    raise ValueError(len(shown))


if __name__ == "__main__":
    import typer

    app = typer.Typer(pretty_exceptions_show_locals=True, pretty_exceptions_short=False)

    @app.command()
    def command(name: str) -> None:
        if name == "shown":
            a_frame_that_shows_it()
        run(name)

    sys.exit(app())
