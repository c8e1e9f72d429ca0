"""Options beside the environment, and of a client with other options."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

import vcloud
from tests.secrets.tls import authority
from vcloud import (
    ConfigurationError,
    Endpoint,
    EndpointOptions,
    HMACAuth,
    InvalidArgumentError,
    RetryPolicy,
    SharedBudget,
    StreamSpace,
    VagonStreams,
    VCloud,
)
from vcloud._core.client import session_of
from vcloud._core.lifetime import Lifetime

AUTH = HMACAuth("ak", "sk_canary")
ENVIRON = {
    "VCLOUD_COMPUTERS_KEY": "ak",
    "VCLOUD_COMPUTERS_SECRET": "sk_canary",
    "VCLOUD_DESKTOPS_API_KEY": "ck_canary",
    "VCLOUD_STREAMSPACE_URL": "https://streamspace.example/api/v1",
    "VCLOUD_STREAMSPACE_TOKEN": "t_canary",
}

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
        ({"timeout": -1}, r"timeout must be greater than 0 seconds, not -1.0 \(for "),
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
