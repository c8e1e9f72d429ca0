"""Options where people look for them: of clients, of the facade, and beside the environment."""

from __future__ import annotations

import inspect
import ssl
import typing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import vcloud
from tests.secrets.tls import authority
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    Bulk,
    ConfigurationError,
    Desktops,
    Endpoint,
    EndpointOptions,
    HMACAuth,
    InvalidArgumentError,
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
from vcloud._core.lifetime import Lifetime

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
        (StreamSpace, r"write StreamSpace\(auth=BearerAuth\(token\)\).*VCLOUD_STREAMSPACE_URL"),
        (Desktops, r"APIKeyAuth\(api_key\).* VCLOUD_DESKTOPS_API_KEY and use Desktops.from_env\("),
    ],
)
def test_a_client_without_credentials_says_how_to_give_them(kind: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        kind("https://host.example/api/v1")


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
        ("VCloud", "auth", r"VCloud\(computers=Endpoint\(auth=..., auth=...\)"),
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
    ],
)
def test_an_argument_by_position_or_left_out_is_told_its_name(
    make: Callable[[], object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_the_signatures_that_tools_show_name_every_argument() -> None:
    assert {"computers", "observers", "client_session"} <= set(inspect.signature(VCloud).parameters)
    assert {"timeout", "deadline", "retry"} <= set(
        inspect.signature(VCloud.with_options).parameters
    )
    assert {one.name for one in attrs.fields(Endpoint)} == set(
        inspect.signature(Endpoint).parameters
    )


# -- the environment -------------------------------------------------------------------------------


def test_options_of_all_providers_and_of_one() -> None:
    cloud = VCloud.from_env(
        ENVIRON, deadline=10, timeout=4, computers={"deadline": 20, "concurrency": 7}
    )
    computers, desktops = session_of(cloud.computers), session_of(cloud.desktops)
    assert (computers.deadline, computers.timeout, computers.concurrency) == (20.0, 4.0, 7)
    assert (desktops.deadline, desktops.timeout, desktops.concurrency) == (10.0, 4.0, 100)


def test_options_of_a_provider_that_is_not_configured_are_not_used() -> None:
    cloud = VCloud.from_env(ENVIRON, streams={"timeout": 3})
    assert cloud.configured == ("computers", "streamspace", "desktops")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": -1}, "timeout must be greater than 0, not -1"),
        ({"computers": {"concurrency": "5"}}, r"concurrency must be .* \(for computers\)"),
        (
            {"computers": Endpoint(auth=AUTH)},
            r"computers must be a dict .*not Endpoint; an",
        ),
        ({"computers": [("timeout", 5)]}, "computers must be a dict .*not list"),
        ({"shared_budget": SharedBudget("redis://h", account="a")}, "so give those too"),
        ({"retry": 3}, "retry must be a RetryPolicy"),
    ],
)
def test_a_wrong_option_beside_the_environment_is_named(options: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        VCloud.from_env(ENVIRON, **options)
    assert "VCLOUD" not in str(caught.value)


def test_an_endpoint_of_the_environment_can_be_made_alone() -> None:
    endpoint = Endpoint.from_env("streamspace", ENVIRON, deadline=10)
    assert endpoint.base_url == "https://streamspace.example/api/v1"
    assert endpoint.deadline == 10.0
    client = StreamSpace.from_env(ENVIRON, timeout=5)
    assert session_of(client).timeout == 5.0
    assert "canary" not in repr(endpoint) + repr(client)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (
            "computer",
            "streamspace, desktops, not 'computer': did you mean computers",
        ),
        ("bogus", "provider must be one of .*, not 'bogus'$"),
        (["computers"], "provider must be one of"),
        (None, "provider must be one of"),
        ("streams", "VCLOUD_STREAMS_KEY and VCLOUD_STREAMS_SECRET"),
    ],
)
def test_an_endpoint_that_the_environment_does_not_have_says_what_to_set(
    provider: Any, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Endpoint.from_env(provider, ENVIRON)
    with pytest.raises(ConfigurationError, match="VCLOUD_STREAMS_KEY"):
        VagonStreams.from_env(ENVIRON)


def test_plain_http_is_permitted_by_an_option_or_by_the_variable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    elsewhere = ENVIRON | {"VCLOUD_COMPUTERS_URL": "http://other.test/v1"}
    with pytest.raises(ConfigurationError, match="VCLOUD_ALLOW_HTTP=1 permits plain http"):
        Endpoint.from_env("computers", elsewhere)
    assert Endpoint.from_env("computers", elsewhere, allow_http=True).allow_http
    assert not caplog.records
    with pytest.raises(ConfigurationError, match="plain http"):
        Endpoint.from_env("computers", elsewhere | {"VCLOUD_ALLOW_HTTP": "1"}, allow_http=False)
    assert Endpoint.from_env("computers", elsewhere | {"VCLOUD_ALLOW_HTTP": "1"}).allow_http
    assert "other.test (computers)" in caplog.text


def test_an_option_decides_before_the_authority_of_the_environment(tmp_path: Path) -> None:
    authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    environ = ENVIRON | {
        "VCLOUD_CA_FILE": str(tmp_path / "ca.pem"),
        "VCLOUD_COMPUTERS_URL": "https://own.example/v1",
    }
    own = ssl.create_default_context()
    assert Endpoint.from_env("computers", environ).ssl is not None
    assert Endpoint.from_env("computers", environ, ssl=own).ssl is own
    assert Endpoint.from_env("computers", environ, verify=False).ssl is None
    assert Endpoint.from_env("desktops", environ).ssl is None


# -- with other options ----------------------------------------------------------------------------


def test_a_facade_with_other_options_shares_everything() -> None:
    cloud = VCloud.from_env(ENVIRON, deadline=60)
    quick = cloud.with_options(deadline=5, retry=RetryPolicy(attempts=1))
    assert quick.configured == cloud.configured == ("computers", "streamspace", "desktops")
    for ours, theirs in ((quick.computers, cloud.computers), (quick.desktops, cloud.desktops)):
        assert session_of(ours).deadline == 5.0
        assert session_of(ours).retry.attempts == 1
        assert session_of(theirs).deadline == 60.0
        assert session_of(ours).admission is session_of(theirs).admission
        assert session_of(ours).auth is session_of(theirs).auth
        assert session_of(ours).transport is session_of(theirs).transport
    assert session_of(quick.with_options(timeout=1).computers).deadline == 5.0
    with pytest.raises(ConfigurationError, match="streams is not configured"):
        _ = quick.streams
    with pytest.raises(InvalidArgumentError, match="deadline must be greater than 0"):
        cloud.with_options(deadline=0)


@pytest.mark.parametrize("of", ["VCloud", "VagonComputers", "StreamSpace", "Desktops"])
async def test_what_with_options_made_is_neither_opened_nor_closed(of: str) -> None:
    async with VCloud.from_env(ENVIRON) as cloud:
        views: list[Lifetime] = [
            cloud.with_options(timeout=5),
            cloud.computers.with_options(timeout=5),
            cloud.streamspace.with_options(timeout=5).with_options(timeout=6),
            cloud.with_options(timeout=5).desktops,
        ]
        (other,) = [one for one in views if type(one).__name__ == of]
        said = f"this {of} was made by with_options and cannot be .* open and close that one"
        for call in (other.aopen, other.aclose, other.__aenter__):
            with pytest.raises(ConfigurationError, match=said):
                await call()
        with pytest.raises(ConfigurationError, match=said):
            async with other:
                pytest.fail("it was entered")


def test_the_names_that_are_configured_are_in_order() -> None:
    assert VCloud(desktops=Endpoint(auth=AUTH)).configured == ("desktops",)
    assert vcloud.EndpointOptions is EndpointOptions
