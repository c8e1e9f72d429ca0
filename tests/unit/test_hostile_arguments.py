"""Any id or string is refused, or is exactly one segment, parameter or JSON string on the wire."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from attrs import frozen

from tests.contract.contract_harness import PROVIDERS, Provider
from tests.unit.hostile import LONG, ONCE
from vcloud import (
    APIError,
    APIKeyAuth,
    BearerAuth,
    ConfigurationError,
    Endpoint,
    HMACAuth,
    InvalidArgumentError,
    Request,
    Response,
    UnsupportedError,
    VCloudError,
)
from vcloud._core.client import client_with
from vcloud._core.connections.options import TransportOptions
from vcloud._core.paging.pager import Pager
from vcloud._core.resource import Collection
from vcloud._core.transport import Transport
from vcloud.providers.computers import Permissions
from vcloud.providers.desktops import Wait
from vcloud.providers.streams import Capacity

#: Taken for an id, a number and a name alike.
TAME, OTHER = "731731", "828282"
HOSTILE = [
    "", " ", ".", "..", "/", "a/b", "../../admin", "..%2f..", "%2f", "%", "?a=b", "a&page=2", "#x",
    ";", "a=b", "\\", "a\r\nX-Injected: 1",
    "\n", "\x00", "\t", "\x7f", "\u00e9", "\u2028", "\u202e", "\uff0f", "\U0001f642", "\ud800",
    " a ", "+", ",", '"', "'", "{id}", LONG, "9" * 5000,
]  # fmt: skip

#: What calls need besides the text that is tried.
NEEDED = {
    "expires_in": timedelta(minutes=1),
    "permissions": Permissions(clipboard_enabled=True),
    "capacities": [Capacity("dublin", 1)],
    "capacity_type": "on_demand",
    "start": (1, 1),
    "end": (2, 2),
    "action": Wait(1),
    "actions": [Wait(1)],
    "amount": 1,
    "duration": 1,
    "x": 1,
    "y": 1,
    "direction": "up",
    "region": "dublin",
    "status": "online",
}
#: What is tried where not every text will do.
TAMES = {"email": f"{TAME}@example.com"}
#: What is no request, or waits for something that does not come.
NO_REQUEST = {
    "aopen",
    "aclose",
    "with_options",
    "from_env",
    "serve_agent",
    "forward_vnc",
    "open_vnc",
    "perform_all",
    "launch",
    "wait_until",
    "connect",
}


class Refusing(Transport):
    """Keeps what is to be sent, and refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, Mapping[str, str], bytes | None]] = []

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self.sent.append((method, url, headers, body))
        return Response(400, {}, b"{}")


def make(provider: Provider) -> tuple[Any, Refusing]:
    transport = Refusing()
    endpoint = Endpoint(provider.document["base_url"], auth=provider.auth(), retry=ONCE)
    client = client_with(provider.client_class, endpoint, transport=transport, own=provider.own)
    return client, transport


@frozen
class Call:
    """A text argument of a method, or the id of a handle on the way to it."""

    provider: Provider
    #: From the client to what has the method; ``ref`` stands for a call of it.
    way: tuple[str, ...]
    method: str
    #: The argument's name, or the place of the handle on the way.
    tried: str | int

    def __str__(self) -> str:
        way = [
            f"{step}({'!' if place == self.tried else ''})" if step == "ref" else step
            for place, step in enumerate(self.way)
        ]
        name = self.tried if isinstance(self.tried, str) else ""
        return f"{'.'.join((self.provider.name, *way, self.method))}({name})"

    def send(self, text: str, runner: asyncio.Runner) -> tuple[list[Any], BaseException | None]:
        """What was sent, and what it came to."""
        place, transport = make(self.provider)
        try:
            for number, step in enumerate(self.way):
                place = getattr(place, step)
                if step == "ref":
                    place = place(
                        **dict.fromkeys(texts(place), text if number == self.tried else OTHER)
                    )
            runner.run(self._send(getattr(place, self.method), text))
        except VCloudError as error:
            return transport.sent, error
        return transport.sent, None

    async def _send(self, method: Callable[..., Any], text: str) -> None:
        given: dict[str, Any] = {}
        many: list[str] = []
        for parameter in inspect.signature(method).parameters.values():
            if parameter.name == self.tried:
                if parameter.kind is parameter.VAR_POSITIONAL:
                    many = [text]
                else:
                    given[parameter.name] = (
                        [text] if str(parameter.annotation).startswith("Sequence[str") else text
                    )
            elif parameter.default is parameter.empty:
                if parameter.kind is parameter.VAR_POSITIONAL:
                    many = ["a"]
                else:
                    given[parameter.name] = NEEDED.get(parameter.name, OTHER)
        made = method(*many, **given)
        if isinstance(made, Pager):
            await made.first()
        elif inspect.isawaitable(made):
            await made


def texts(method: Callable[..., Any]) -> list[str]:
    """The arguments that can be texts."""
    return [
        name
        for name, parameter in inspect.signature(method).parameters.items()
        if "str" in str(parameter.annotation)
    ]


def calls(provider: Provider) -> Iterator[Call]:
    """Every method that a client, its collections and its handles have, with each of its texts."""
    places: list[tuple[tuple[str, ...], Any]] = [((), make(provider)[0])]
    for way, place in places:
        for name in dir(place):
            if name.startswith("_") or name in NO_REQUEST:
                continue
            found = getattr(place, name)
            if isinstance(found, Collection):
                places.append(((*way, name), found))
            if inspect.ismethod(found):
                yield from (Call(provider, way, name, argument) for argument in texts(found))
                yield from (
                    Call(provider, way, name, number)
                    for number, step in enumerate(way)
                    if step == "ref"
                )
            if name == "ref":
                places.append(((*way, name), found(**dict.fromkeys(texts(found), OTHER))))


CALLS = [call for provider in PROVIDERS.values() for call in calls(provider)]
#: What these are given is translated to what the service can type; test_desktops_typing.py and
#: test_desktops_keys.py run it.
TRANSLATED = {
    "desktops.ref().type(text)",
    "desktops.ref().press(keys)",
    "desktops.ref().key_down(keys)",
    "desktops.ref().key_up(keys)",
}
#: It lists what no path can name.
FOUND = "streamspace-published.sessions.find(name)"


def read(sent: tuple[str, str, Mapping[str, str], bytes | None], tame: str, text: str) -> Any:
    """A request with its structure, the one text in it replaced by the other."""
    method, url, headers, body = sent
    parts = urlsplit(url)

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replaced(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [replaced(inner) for inner in value]
        return text if value == tame or str(value) == tame else value

    query = [pair.partition("=") for pair in parts.query.split("&")] if parts.query else []
    return (
        method,
        parts.netloc,
        [replaced(unquote(segment)) for segment in parts.path.split("/")],
        [(name, replaced(unquote(value))) for name, _, value in query],
        sorted(headers),
        replaced(json.loads(body)) if body else None,
    )


def test_the_calls_are_all_there() -> None:
    names = {str(call) for call in CALLS}
    assert {
        "computers.machines.get(id)", "computers.machines.ref(!).start()",
        "computers.machines.ref(!).tasks.ref().delete()",
        "computers.machines.ref().tasks.ref(!).delete()",
        "computers.machines.ref(!).sessions.list()",
        "streams.streams.ref().assign_machine(user_id)", "streamspace.sessions.list(tags)",
        "desktops.ref().bash(command)",
    } | TRANSLATED <= names  # fmt: skip
    assert len(names) > 120


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.mark.parametrize("call", [one for one in CALLS if str(one) not in TRANSLATED], ids=str)
def test_a_text_is_refused_or_stays_in_its_place(call: Call, runner: asyncio.Runner) -> None:
    tame = TAMES.get(str(call.tried), TAME)
    usual, outcome = call.send(tame, runner)
    if isinstance(outcome, UnsupportedError):
        # The installation has no way for it, whatever the text is.
        refused = [call.send(text, runner) for text in HOSTILE]
        assert not any(sent for sent, _ in [(usual, outcome), *refused])
        assert {type(error) for _, error in refused} <= {UnsupportedError, InvalidArgumentError}
        return
    assert isinstance(outcome, APIError | InvalidArgumentError | None)
    for text in HOSTILE:
        sent, outcome = call.send(text, runner)
        if not sent and isinstance(outcome, UnsupportedError):
            assert call.provider.dialect == "published", "whose server reads such a text wrongly"
            assert len(str(outcome)) < 1000
            continue
        if not sent:
            # A text that is none of a few words, or makes no request of its own, is never sent.
            assert isinstance(outcome, InvalidArgumentError) or (outcome is None and not usual), (
                text
            )
            assert len(text) > 1000 or len(str(outcome)) < 1000
            continue
        assert len(sent) == len(usual) == 1
        _, url, headers, _ = sent[0]
        assert url.isascii(), text
        assert url.isprintable(), text
        assert " " not in url
        assert "#" not in url
        assert all("\r" not in value and "\n" not in value for value in headers.values())
        if str(call) == FOUND and urlsplit(url).path.endswith("/sessions"):
            assert not urlsplit(url).query
            continue
        assert read(sent[0], tame, tame) == read(usual[0], tame, text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_credential_is_refused_or_is_exactly_the_header(text: str) -> None:
    request = Request("GET", "/x")
    for make_auth, shown in (
        (APIKeyAuth, text),
        (BearerAuth, f"Bearer {text}"),
        (lambda key: HMACAuth(key, "sk"), f"HMAC {text}:"),
        (lambda secret: HMACAuth("ak", secret), "HMAC ak:"),
    ):
        try:
            auth: Any = make_auth(text)
        except ConfigurationError as error:
            refusal = str(error)
        else:
            refusal = ""
        if refusal:
            assert len(text.strip()) < 2 or text not in refusal
            continue
        headers = auth.headers(request, "/v1/x", now=0.0, nonce="n")
        assert [value[: len(shown)] for value in headers.values()] == [shown]
        assert all(value.isascii() and value.isprintable() for value in headers.values())


@pytest.mark.parametrize(
    "name", ["", "x-api-key\r\nX-Injected", "x api key", "x-api-key:", "sch\u00fcssel", "\x00"]
)
def test_a_header_whose_name_cannot_be_one_is_refused(name: str) -> None:
    APIKeyAuth("key", header="X-Api-Key_2")
    with pytest.raises(ConfigurationError, match="header"):
        APIKeyAuth("key", header=name)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_password_travels_as_one_json_text_or_not_at_all(text: str) -> None:
    if text in ("", "\ud800"):
        with pytest.raises((ConfigurationError, InvalidArgumentError)):
            BearerAuth.login(text, text)
        return
    auth = BearerAuth.login(text, text)
    assert auth.credentials is not None
    assert json.loads(auth.credentials.body or b"") == {"username": text, "password": text}
