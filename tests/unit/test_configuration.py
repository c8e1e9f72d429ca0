"""Mistakes in the configuration of a client, which are found before anything is sent."""

from __future__ import annotations

import copy
import pickle
import ssl
from datetime import timedelta
from typing import Any

import attrs
import pytest

from vcloud import (
    Auth,
    ConfigurationError,
    Endpoint,
    HMACAuth,
    Observer,
    RateLimit,
    RetryPolicy,
    VagonComputers,
    VCloud,
)
from vcloud._core.connections.options import proxy_from_environment

AUTH = HMACAuth("ak", "sk_canary")


def test_a_facade_without_any_provider_says_how_to_give_one() -> None:
    with pytest.raises(ConfigurationError, match=r"computers=Endpoint\(auth=HMACAuth"):
        VCloud()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "VCLOUD_COMPUTERS_KEY and VCLOUD_COMPUTERS_SECRET"),
        (
            {"VCLOUD_COMPUTERS_KEY": "ak"},
            "VCLOUD_COMPUTERS_SECRET must be set too, to use computers",
        ),
        ({"VCLOUD_COMPUTERS_SECRET": "sk_canary"}, "VCLOUD_COMPUTERS_KEY must be set too"),
    ],
)
def test_a_half_set_environment_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        VCloud.from_env(environ)
    assert "canary" not in str(caught.value)


def test_the_environment_makes_a_client() -> None:
    cloud = VCloud.from_env({"VCLOUD_COMPUTERS_KEY": "ak", "VCLOUD_COMPUTERS_SECRET": "sk_canary"})
    assert "at https://api.vagon.io/organization-management/v1>" in repr(cloud.computers)
    elsewhere = {"VCLOUD_COMPUTERS_URL": "http://127.0.0.1:8080/organization-management/v1/"}
    cloud = VCloud.from_env(
        {"VCLOUD_COMPUTERS_KEY": "ak", "VCLOUD_COMPUTERS_SECRET": "sk_canary"} | elsewhere
    )
    assert "at http://127.0.0.1:8080/organization-management/v1>" in repr(cloud.computers)
    assert "canary" not in repr(cloud) + repr(cloud.computers) + repr(cloud.computers.machines)


REMOTE = {
    "VCLOUD_COMPUTERS_KEY": "ak",
    "VCLOUD_COMPUTERS_SECRET": "sk_canary",
    "VCLOUD_COMPUTERS_URL": "HTTP://emulator.test:8080/organization-management/v1",
    "VCLOUD_DESKTOPS_API_KEY": "ck_canary",
    "VCLOUD_DESKTOPS_URL": "http://emulator.test:8080/v1",
}
PERMIT = {"VCLOUD_ALLOW_HTTP": "1"}


@pytest.mark.parametrize("written", [{}, {"VCLOUD_ALLOW_HTTP": ""}, {"VCLOUD_ALLOW_HTTP": "0"}])
def test_plain_http_to_another_machine_is_refused_and_says_what_permits_it(
    written: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError, match="VCLOUD_ALLOW_HTTP=1 permits plain http"):
        VCloud.from_env(REMOTE | written)


def test_plain_http_is_permitted_by_the_environment_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    elsewhere = {
        "VCLOUD_STREAMSPACE_TOKEN": "t_canary",
        "VCLOUD_STREAMSPACE_URL": "http://other.test/api/v1",
        "VCLOUD_STREAMS_KEY": "ak",
        "VCLOUD_STREAMS_SECRET": "sk_canary",
    }
    with caplog.at_level("DEBUG"):
        cloud = VCloud.from_env(REMOTE | elsewhere | PERMIT)
    assert "at http://emulator.test:8080/" in repr(cloud.computers)
    assert [(record.name, record.levelname) for record in caplog.records] == [("vcloud", "WARNING")]
    assert "emulator.test (computers, desktops)" in caplog.text
    assert "other.test (streamspace)" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("host", ["https://emulator.test", "http://127.0.0.1:8080", "http://[::1]"])
def test_permission_that_is_not_needed_is_not_mentioned(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = {"VCLOUD_DESKTOPS_API_KEY": "ck"}
    VCloud.from_env(key | PERMIT | {"VCLOUD_DESKTOPS_URL": f"{host}/v1"})
    VCloud.from_env(key | PERMIT)
    assert not caplog.records


@pytest.mark.parametrize("written", ["true", "yes", "2", " 1", "on"])
def test_permission_in_other_words_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match="VCLOUD_ALLOW_HTTP must be 1"):
        VCloud.from_env({"VCLOUD_DESKTOPS_API_KEY": "ck", "VCLOUD_ALLOW_HTTP": written})


def test_the_environment_does_not_permit_http_for_the_users_own_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VCLOUD_ALLOW_HTTP", "1")
    with pytest.raises(ConfigurationError, match="allow_http=True"):
        Endpoint("http://emulator.test/v1", auth=AUTH)


def test_permission_counts_where_the_variables_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCLOUD_ALLOW_HTTP", "1")
    with pytest.raises(ConfigurationError, match="plain http"):
        VCloud.from_env(REMOTE)


@pytest.mark.parametrize(
    "url",
    [
        "api.vagon.io",
        "ftp://api.vagon.io",
        "https://",
        "https://u:p@host/v1",
        "https://h/v1?x=1",
        "https://h/#x",
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        Endpoint(url, auth=AUTH)


def test_plain_http_is_for_this_machine_only_unless_asked_for() -> None:
    for url in (
        "http://127.0.0.1:8080/api/v1",
        "http://localhost:8080",
        "http://[::1]:8080",
        "https://example.com",
    ):
        Endpoint(url, auth=AUTH)
    with pytest.raises(ConfigurationError, match="allow_http=True"):
        Endpoint("http://streamspace.example.com/api/v1", auth=AUTH)
    Endpoint("http://streamspace.example.com/api/v1", auth=AUTH, allow_http=True)


@pytest.mark.parametrize(
    "options",
    [
        {"retry": 3},
        {"auth": HMACAuth},
        {"timeout": "20s"},
        {"timeout": None},
        {"timeout": float("nan")},
        {"deadline": "x"},
        {"concurrency": "5"},
        {"concurrency": 2.5},
        {"base_url": 123},
        {"base_url": "https://[x/"},
        {"base_url": "https://x:abc"},
        {"base_url": "https://ex ample.com"},
        {"verify": None},
        {"verify": "no"},
        {"ssl": True},
        {"proxy": 5},
        {"shared_budget": "redis://localhost", "rate_limits": [RateLimit(1, per=1)]},
    ],
    ids=str,
)
def test_options_of_the_wrong_kind_are_refused_when_they_are_given(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))}.* must|base_url"):
        Endpoint(**{"auth": AUTH} | options)


@pytest.mark.parametrize("word", ["false", "true", 1, None])
def test_only_true_permits_it(word: Any) -> None:
    with pytest.raises(ConfigurationError, match="allow_http must be True or False"):
        Endpoint("http://streamspace.example.com/api/v1", auth=AUTH, allow_http=word)


def test_a_custom_strategy_that_cannot_work_is_refused_by_the_endpoint() -> None:
    class Forgetful(Auth):
        def header(self) -> None: ...

    class Awaited(Auth):
        async def headers(self, *given: Any, **more: Any) -> Any: ...  # type: ignore[override]

    with pytest.raises(TypeError, match="abstract method '?headers"):
        Forgetful()  # type: ignore[abstract]
    with pytest.raises(ConfigurationError, match="Awaited.headers must be a plain function"):
        Endpoint(auth=Awaited())


def test_observers_of_all_providers_are_given_in_a_list() -> None:
    with pytest.raises(ConfigurationError, match="observers must be a list of Observer objects"):
        VCloud(computers=Endpoint(auth=AUTH), observers=Observer())  # type: ignore[arg-type]


def test_an_address_with_a_password_in_it_is_refused_without_being_shown() -> None:
    for url in ("https://u:canary@host/v1", "htps://u:canary@h", "https://canary@host"):
        with pytest.raises(ConfigurationError) as caught:
            Endpoint(url, auth=AUTH)
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"attempts": "3"}, {"base": -1}, {"cap": "x"}, {"base": "1"}]
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))} must be"):
        RetryPolicy(**options)
    assert RetryPolicy(cap=timedelta(seconds=5)).cap == 5.0


def test_a_client_requires_an_endpoint_and_an_aiohttp_session() -> None:
    with pytest.raises(
        ConfigurationError, match=r"VagonComputers needs an Endpoint\(auth=...\), not HMACAuth"
    ):
        VagonComputers(AUTH)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="client_session must be an aiohttp.ClientSession"):
        VCloud(computers=Endpoint(auth=AUTH), client_session="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"connect_timeout": -1},
        {"concurrency": 0},
        {"deadline": -1},
        {"heartbeat": 0},
    ],
)
def test_limits_that_allow_nothing_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigurationError, match=f"^{name} must be .*(greater than 0|at least 1)"):
        Endpoint(auth=AUTH, **options)


def test_durations_are_seconds_or_timedeltas() -> None:
    endpoint = Endpoint(
        auth=AUTH, timeout=timedelta(minutes=1), connect_timeout=2, heartbeat=timedelta(seconds=5)
    )
    assert (endpoint.timeout, endpoint.connect_timeout, endpoint.heartbeat) == (60.0, 2.0, 5.0)
    assert Endpoint(auth=AUTH).heartbeat == 20.0


def test_credentials_that_are_not_a_strategy_are_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError, match="auth must be an Auth") as caught:
        Endpoint(auth=("ak", "sk_canary"))  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="computers must be an Endpoint"):
        VCloud(computers=AUTH)  # type: ignore[arg-type]


def test_the_environments_proxy_is_looked_up_once_and_can_be_bypassed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test")
    assert proxy_from_environment("https://outside.test/v1") == "http://proxy.test:3128"
    assert proxy_from_environment("https://inside.test/v1") is None


@pytest.mark.parametrize("scheme", ["http", "HTTP", "Http"])
def test_plain_http_is_recognised_however_its_scheme_is_written(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match="through a proxy on another machine"):
        Endpoint(f"{scheme}://127.0.0.1:80", auth=AUTH, proxy="http://proxy.example:3128")
    with pytest.raises(ConfigurationError, match="allow_http=True"):
        Endpoint(f"{scheme}://streamspace.example.com/api/v1", auth=AUTH)
    assert Endpoint(f"{scheme}S://HOST/Api/v1/", auth=AUTH).base_url == "https://HOST/Api/v1"


NO_PROXIES = [
    ("proxy.example:3128", "no scheme"),
    ("canary:canary@proxy.example:3128", "no scheme"),
    ("socks5://127.0.0.1:9", "socks5 proxies are not supported"),
    ("socks5h://u:canary@127.0.0.1:9", "socks5h proxies are not supported"),
    ("ftp://proxy.example", "ftp proxies are not supported"),
    ("http://proxy.example:port", "host or port"),
    ("http://proxy.example:99999", "host or port"),
    ("http://proxy.example:0", "host or port"),
    ("http://u:can/ary@proxy.example:3128", "host or port"),
    ("http://:3128", "host or port"),
    ("http://", "host or port"),
    ("http://[x/", "host or port"),
    ("http://proxy example:3128", "host or port"),
    ("", "no scheme"),
]


@pytest.mark.parametrize(("proxy", "said"), NO_PROXIES)
def test_a_proxy_that_cannot_be_used_is_refused_when_it_is_given(proxy: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"proxy must be a URL .*{said}") as caught:
        Endpoint("https://fleet.example", auth=AUTH, proxy=proxy)
    assert "canary" not in str(caught.value)
    assert "can/ary" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy.example:3128",
        "HTTP://proxy.example",
        "https://user:p%20w@proxy.example:3128/",
        "http://[::1]:3128",
        "environment",
        None,
    ],
)
def test_a_proxy_that_can_be_used_is_taken(proxy: str | None) -> None:
    assert Endpoint("https://fleet.example", auth=AUTH, proxy=proxy).proxy == proxy


@pytest.mark.parametrize(("proxy", "said"), [one for one in NO_PROXIES if one[0]])
def test_a_proxy_of_the_environment_that_cannot_be_used_is_named_when_the_client_is_made(
    proxy: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    endpoint = Endpoint("https://fleet.example", auth=AUTH, proxy="environment")
    with pytest.raises(ConfigurationError, match=f"HTTPS_PROXY must be a URL .*{said}") as caught:
        VagonComputers(endpoint)
    assert "canary" not in str(caught.value)


def test_a_context_and_no_verification_contradict_each_other() -> None:
    context = ssl.create_default_context()
    with pytest.raises(ConfigurationError, match="contradict each other"):
        Endpoint(auth=AUTH, ssl=context, verify=False)
    assert Endpoint(auth=AUTH, ssl=context).ssl is context
    assert not Endpoint(auth=AUTH, verify=False).verify


def test_a_configuration_can_be_copied_and_keeps_its_strategy() -> None:
    endpoint = Endpoint(auth=AUTH)
    for copied in (copy.copy(endpoint), copy.deepcopy(endpoint), attrs.evolve(endpoint, timeout=5)):
        assert copied.auth is AUTH
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(endpoint)


def test_a_variable_that_is_wrong_is_named() -> None:
    known = {"VCLOUD_COMPUTERS_KEY": "ak", "VCLOUD_COMPUTERS_SECRET": "sk"}
    with pytest.raises(ConfigurationError, match="VCLOUD_COMPUTERS_SIGNED_PATH"):
        VCloud.from_env({**known, "VCLOUD_COMPUTERS_SIGNED_PATH": "v1"})
    with pytest.raises(ConfigurationError, match="VCLOUD_CA_FILE must name .*null byte"):
        VCloud.from_env({**known, "VCLOUD_CA_FILE": "ca\0.pem"})
