"""One strategy for several base URLs, and strategies of the user's own."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping

import pytest

from tests.unit.auth_service import NOW, SECRETS, Service, bearer, refusal
from vcloud import (
    Auth,
    BearerAuth,
    ConfigurationError,
    Endpoint,
    HMACAuth,
    Request,
    VagonComputers,
)
from vcloud._core.auth import Send, bound_auth

A, B = "https://a.example/api/v1", "https://b.example/api/v1"


async def test_a_token_of_one_base_url_is_unknown_to_another() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    first, second = auth.for_base_url(A), auth.for_base_url(B)
    await first.acquire(service, now=NOW)
    assert first.ready(NOW)
    assert not second.ready(NOW)
    await second.acquire(service, now=NOW)
    assert (bearer(first), bearer(second)) == ("Bearer tok-1", "Bearer tok-2")
    first.forget()
    assert second.has_token


async def test_credentials_given_at_one_base_url_stay_there() -> None:
    auth = BearerAuth.login("admin", "hunter2")
    auth.for_base_url(A).adopt(
        "tok", None, now=NOW, credentials=Request("POST", "/auth/login", body=b'{"other":1}')
    )
    assert auth.for_base_url(B).credentials != auth.for_base_url(A).credentials
    given = BearerAuth("given")
    given.for_base_url(A).adopt("of-a", None, now=NOW)
    assert bearer(given.for_base_url(B)) == "Bearer given"


def test_a_clock_offset_is_kept_for_one_base_url() -> None:
    auth = HMACAuth("ak", "sk")
    first, second = auth.for_base_url(A), auth.for_base_url(B)
    sent = first.headers(Request("GET", "/"), "/", now=NOW, nonce="a")
    assert first.refused(refusal(NOW + 7200), sent, now=NOW)
    other = second.headers(Request("GET", "/"), "/", now=NOW, nonce="b")
    assert other["Authorization"].endswith(f":{NOW * 1000:.0f}")


@pytest.mark.parametrize("make", [lambda: HMACAuth("ak", "sk"), lambda: BearerAuth("tok")])
def test_one_base_url_has_one_state_however_often_it_is_asked_for(
    make: Callable[[], HMACAuth | BearerAuth],
) -> None:
    auth = make()
    assert auth.for_base_url(A) is auth
    assert auth.for_base_url(B) is auth.for_base_url(B)
    assert auth.for_base_url(B).for_base_url(B) is auth.for_base_url(B)
    assert type(auth.for_base_url(B)) is type(auth)


def test_a_subclass_keeps_what_is_its_own_at_every_base_url() -> None:
    class Named(BearerAuth):
        def __init__(self, name: str, token: str) -> None:
            super().__init__(token)
            self.name = name

    auth = Named("mine", "tok")
    auth.for_base_url(A)
    assert auth.for_base_url(B).name == "mine"
    assert bearer(auth.for_base_url(B)) == "Bearer tok"


class Stateless(Auth):
    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        return {"X-Mine": "yes"}


class Stateful(Stateless):
    async def acquire(self, send: Send, *, now: float) -> None:
        await send(Request("POST", "/token", authenticated=False))


def test_a_custom_strategy_without_state_serves_every_base_url() -> None:
    auth = Stateless()
    for base_url in (A, B):
        VagonComputers(Endpoint(base_url, auth=auth))
        assert bound_auth(auth, base_url) is auth


def test_a_custom_strategy_with_state_serves_one_base_url() -> None:
    auth = Stateful()
    for _ in range(2):
        VagonComputers(Endpoint(A, auth=auth))
    with pytest.raises(ConfigurationError, match="Stateful cannot serve two base URLs"):
        VagonComputers(Endpoint(B, auth=auth))


def test_a_custom_strategy_can_choose_the_object_for_a_base_url() -> None:
    class Each(Stateful):
        def for_base_url(self, base_url: str) -> Auth:
            return Stateful()

    auth = Each()
    used = [bound_auth(auth, url) for url in (A, B)]
    assert used[0] is not used[1]
    for url in (A, B):
        VagonComputers(Endpoint(url, auth=auth))


def test_secrets_are_in_no_repr_and_no_pickle_of_what_serves_a_second_base_url() -> None:
    for auth in (HMACAuth("ak", "sk_canary"), BearerAuth("tok_canary")):
        auth.for_base_url(A)
        other = auth.for_base_url(B)
        assert not any(secret in repr(vars(other)) for secret in SECRETS)
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(other)
