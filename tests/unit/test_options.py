"""Options where people look for them: of clients, of the facade, and beside the environment."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from vcloud import (
    APIKeyAuth,
    BearerAuth,
    Bulk,
    ConfigurationError,
    Desktops,
    Endpoint,
    EndpointOptions,
    HMACAuth,
    Observer,
    RateLimit,
    RetryPolicy,
    SharedBudget,
    StreamSpace,
    VagonComputers,
    VagonStreams,
    VCloud,
)
from vcloud._core import endpoint
from vcloud._core.client import Client, session_of

AUTH = HMACAuth("ak", "sk_canary")
ENVIRON = {
    "VCLOUD_COMPUTERS_KEY": "ak",
    "VCLOUD_COMPUTERS_SECRET": "sk_canary",
    "VCLOUD_DESKTOPS_API_KEY": "ck_canary",
    "VCLOUD_STREAMSPACE_URL": "https://streamspace.example/api/v1",
    "VCLOUD_STREAMSPACE_TOKEN": "t_canary",
}
KINDS: list[type[Client]] = [VagonComputers, VagonStreams, StreamSpace, Desktops]


# -- one list of options ---------------------------------------------------------------------------


def test_the_options_are_the_arguments_of_an_endpoint() -> None:
    named = set(EndpointOptions.__annotations__)
    assert {one.name for one in attrs.fields(Endpoint)} - {"base_url", "auth"} == named
    assert EndpointOptions.__required_keys__ == frozenset()


def test_the_types_of_the_options_are_those_of_an_endpoint() -> None:
    names: dict[str, Any] = {
        "Observer": Observer,
        "SharedBudget": SharedBudget,
        "timedelta": timedelta,
    }
    options = typing.get_type_hints(EndpointOptions, None, names)
    taken = typing.get_type_hints(Endpoint.__init__, vars(endpoint), names)
    assert {name: taken[name] for name in options} == options


# -- the clients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_takes_what_an_endpoint_takes(kind: type[Client]) -> None:
    url = "https://desktops.example.com/api/v1"
    limits = [RateLimit(5, per=1)]
    client = kind(url, auth=AUTH, timeout=timedelta(seconds=5), deadline=9, rate_limits=limits)
    session = session_of(client)
    assert (session.base_url, session.timeout, session.deadline) == (url, 5.0, 9.0)
    assert f"at {url}>" in repr(kind(base_url=url, auth=AUTH))


def test_a_client_has_its_own_address_when_none_is_given() -> None:
    assert "api.vagon.io" in repr(VagonComputers(auth=AUTH))
    assert "api.vagon.io" in repr(VagonComputers(None, auth=AUTH))
    with pytest.raises(ConfigurationError, match="streamspace has no default address"):
        StreamSpace(auth=AUTH)


def test_a_client_takes_an_endpoint_by_position_and_by_name() -> None:
    endpoint = Endpoint("https://one.example", auth=AUTH, timeout=7)
    for client in (VagonComputers(endpoint), VagonComputers(endpoint=endpoint)):
        assert session_of(client).timeout == 7.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auth": AUTH}, "got an Endpoint and auth, which belongs to it"),
        ({"timeout": 5, "deadline": 9}, "got an Endpoint and timeout, deadline, which belong"),
        ({"base_url": "https://h", "endpoint": Endpoint(auth=AUTH)}, "an Endpoint and base_url"),
    ],
)
def test_an_endpoint_and_what_it_has_is_refused(options: dict[str, Any], said: str) -> None:
    given = () if "base_url" in options else (Endpoint(auth=AUTH),)
    with pytest.raises(ConfigurationError, match=said):
        VagonComputers(*given, **options)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (VagonComputers, r"write VagonComputers\(auth=HMACAuth\(key, secret\)\)"),
        (Desktops, r"APIKeyAuth\(api_key\).* VCLOUD_DESKTOPS_API_KEY and use Desktops.from_env\("),
    ],
)
def test_a_client_without_credentials_says_how_to_give_them(kind: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        kind("https://host.example/api/v1")


async def test_a_client_that_could_serve_an_agent_says_it_at_its_first_call() -> None:
    async with StreamSpace("https://host.example/api/v1", dialect="published") as client:
        with pytest.raises(ConfigurationError, match=r"auth=BearerAuth\.login\(") as caught:
            await client.users.me()
        assert not caught.value.outcome_unknown


@pytest.mark.parametrize("auth", [AUTH, BearerAuth("t_canary"), APIKeyAuth("ck_canary")])
def test_credentials_in_place_of_the_address_are_told_where_to_go(auth: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Desktops\(base_url, auth=...\)") as caught:
        Desktops(auth)
    assert "canary" not in str(caught.value)


# -- wrong keywords --------------------------------------------------------------------------------


def wrong(name: str) -> dict[str, Callable[[], object]]:
    """Each call with an argument that it does not take."""
    cloud = VCloud(computers=Endpoint(auth=AUTH))
    given: Any = {name: "canary"}
    return {
        "Endpoint": lambda: Endpoint(auth=AUTH, **given),
        "VCloud": lambda: VCloud(computers=Endpoint(auth=AUTH), **given),
        "VCloud.from_env": lambda: VCloud.from_env(ENVIRON, **given),
        "computers": lambda: VCloud.from_env(ENVIRON, computers=given),
        "Endpoint.from_env": lambda: Endpoint.from_env("computers", ENVIRON, **given),
        "VagonComputers.from_env": lambda: VagonComputers.from_env(ENVIRON, **given),
        "VagonComputers": lambda: VagonComputers(auth=AUTH, **given),
        "with_options": lambda: cloud.with_options(**given),
        "of a client": lambda: cloud.computers.with_options(**given),
        "Bulk": lambda: Bulk([], print, **given),  # type: ignore[arg-type]
        "bulk": lambda: cloud.bulk([], print, **given),  # type: ignore[arg-type]
        "instances": lambda: cloud.instances(**given),
    }


#: What each of them offers instead of a mistyped one.
OFFERED = {
    **dict.fromkeys(wrong(""), ("time_out", "timeout")),
    "VCloud": ("computer", "computers"),
    "Bulk": ("workers", "concurrency"),
    "bulk": ("max_failure", "max_failures"),
}


@pytest.mark.parametrize("call", OFFERED)
def test_a_mistyped_keyword_is_told_the_nearest_and_all(call: str) -> None:
    name, meant = OFFERED[call]
    with pytest.raises(TypeError, match=f"has no argument '{name}': did you mean {meant}") as error:
        wrong(name)[call]()
    said = str(error.value)
    assert "canary" not in said
    assert " takes " in said
    assert isinstance(error.value, ConfigurationError)


@pytest.mark.parametrize("call", OFFERED)
def test_a_keyword_like_none_is_told_all(call: str) -> None:
    with pytest.raises(TypeError, match="has no argument 'bogus': .* takes "):
        wrong("bogus")[call]()


@pytest.mark.parametrize(
    ("call", "name", "said"),
    [
        (
            "VCloud",
            "deadline",
            r"VCloud\(computers=Endpoint\(auth=..., deadline=...\)\), or to all",
        ),
        ("VCloud", "auth", r"VCloud\(computers=Endpoint\(base_url, auth=...\)\)$"),
        ("with_options", "concurrency", "takes timeout, deadline and retry; give the others when"),
        ("of a client", "rate_limits", r"as in Endpoint\(auth=..., rate_limits=...\)"),
        ("VCloud.from_env", "auth", r"the environment has the credentials.* Endpoint\(auth=...\)"),
        ("computers", "base_url", r"the environment has the address.* Endpoint\(base_url"),
        ("Endpoint.from_env", "auth", "the environment has the credentials"),
        ("VagonComputers.from_env", "base_url", "the environment has the address"),
    ],
)
def test_an_option_in_the_wrong_place_is_told_where_it_goes(
    call: str, name: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        wrong(name)[call]()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Endpoint("https://h"), r"Endpoint needs auth: write Endpoint\("),  # type: ignore[call-arg]
        (lambda: Endpoint("https://h", AUTH), "Endpoint takes auth by name: write"),  # type: ignore[call-arg]
        (lambda: VCloud(Endpoint(auth=AUTH)), "VCloud takes .*by name"),  # type: ignore[call-arg]
        (
            lambda: StreamSpace("https://h", AUTH),  # type: ignore[call-overload]
            r"all others by name: write StreamSpace\(base_url, auth=...\)",
        ),
        (
            lambda: HMACAuth(api_key="k", secret="canary"),  # type: ignore[call-arg]
            "HMACAuth has no argument 'api_key': did you mean key",
        ),
        (lambda: HMACAuth("canary"), "HMACAuth needs secret: write HMACAuth"),  # type: ignore[call-arg]
        (
            lambda: BearerAuth("admin", "canary"),  # type: ignore[call-arg]
            "BearerAuth takes token only: 2 were given by position",
        ),
        (
            lambda: RetryPolicy(max_attempts=3),  # type: ignore[call-arg]
            "RetryPolicy has no argument 'max_attempts': did you mean attempts",
        ),
        (
            lambda: VCloud.from_env("computers"),  # type: ignore[arg-type]
            "environ must be a mapping such as os.environ, not str",
        ),
        (
            lambda: Desktops.from_env(Endpoint(auth=AUTH)),  # type: ignore[arg-type]
            "environ must be a mapping such as os.environ, not Endpoint",
        ),
    ],
)
def test_an_argument_by_position_or_left_out_is_told_its_name(
    make: Callable[[], object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        make()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "key", "secret", "token", "username", "password"])
def test_credentials_without_a_strategy_are_told_which_one(name: str) -> None:
    given: Any = {name: "canary"}
    for make, said in (
        (Desktops, r"auth=APIKeyAuth\(api_key\)$"),
        (StreamSpace, r"auth=BearerAuth\(token\)$"),
        (VagonComputers, r"auth=HMACAuth\(key, secret\)$"),
        (Endpoint, r"auth=HMACAuth\(key, secret\), BearerAuth\(token\) or APIKeyAuth\(key\)$"),
    ):
        with pytest.raises(
            ConfigurationError, match=f"has no argument '{name}': .*{said}"
        ) as error:
            make(**given)
        assert "canary" not in str(error.value)


def test_the_signatures_that_tools_show_name_every_argument() -> None:
    assert {"computers", "observers", "client_session"} <= set(inspect.signature(VCloud).parameters)
    assert {"timeout", "deadline", "retry"} <= set(
        inspect.signature(VCloud.with_options).parameters
    )
    assert {one.name for one in attrs.fields(Endpoint)} == set(
        inspect.signature(Endpoint).parameters
    )
