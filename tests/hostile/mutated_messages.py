"""The messages of a control plane with parts replaced, removed or exchanged, and broken frames."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import strategies as st

SECRET: Final = "hunter2-of-an-environment"
ROOM: Final = 3
#: The longest id that is answered.
MAX_ID: Final = 1024
ANSWERS: Final = {
    "register",
    "command_ack",
    "command_result",
    "vnc_proxy_error",
}

#: The messages of the document.
DATA: Final = {"name": "n", "namespace": "x"}
START: Final = DATA | {
    "user": "u",
    "template": "t",
    "image": "i",
    "resources": {"cpu": "1", "memory": "2Gi"},
    "vnc": {"port": 5900},
    "persistent_home": True,
    "environment": {"PASSWORD": SECRET},
}
MESSAGES: Final[list[dict[str, Any]]] = [
    {
        "type": "register_ack",
        "agent_id": "agent-1",
        "status": "registered",
        "heartbeat_interval": "10s",
    },
    *[
        {
            "type": "command",
            "command_type": kind,
            "command_id": "cmd1",
            "session_id": "s1",
            "data": data,
        }
        for kind, data in (
            ("start_session", START),
            ("hibernate_session", DATA),
            ("wake_session", DATA),
            ("stop_session", DATA | {"graceful": True, "timeout": "30s"}),
            ("dance", {}),
        )
    ],
    {"type": "vnc_proxy_request", "session_id": "s1", "proxy_id": "p1", "data": {"vnc_port": 1}},
    {"type": "news", "text": "of a newer control plane"},
]


class Large:
    """A large value, by its JSON: some of them Python's own encoder could not write."""

    def __init__(self, label: str, text: str) -> None:
        self.label = label
        self.text = text

    def __repr__(self) -> str:
        return f"<{self.label}>"


def nested(depth: int) -> Large:
    return Large(f"{depth} levels", "[" * depth + "]" * depth)


def crowded(count: int) -> Large:
    return Large(f"{count} fields", json.dumps({f"K{number}": number for number in range(count)}))


TEXTS: Final = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", ".", "..", "\ud83d", "\x1b[2J", "\u202e", "a\nb", "x" * 2000, "x" * 200_000, "NaN"]
    ),
    st.sampled_from(
        ["registered", "command", "start_session", "cmd1", "s1", "30m", "1us", "9" * 400]
    ),
)
SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -1, 0, 2**63]),
    st.floats(),
    TEXTS,
)
VALUES: Final = st.one_of(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=8,
    ),
    st.integers(50, 3000).map(nested),
    st.integers(100, 5000).map(crowded),
)


def written(value: Any) -> str:
    """The JSON of a value."""
    large: dict[str, str] = {}

    def plain(inner: Any) -> Any:
        if isinstance(inner, Large):
            name = f"<large {len(large)}>"
            large[name] = inner.text
            return name
        if isinstance(inner, dict):
            return {key: plain(one) for key, one in inner.items()}
        return [plain(one) for one in inner] if isinstance(inner, list) else inner

    text = json.dumps(plain(value))
    for name, written_so in large.items():
        text = text.replace(json.dumps(name), written_so, 1)
    return text


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Everything in a value, each with what it stands in and its key there."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from places(value[key])


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A message with some of its parts replaced, removed or exchanged."""
    message = copy.deepcopy(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(message))
        if not found:
            break
        within, key = draw(st.sampled_from(found))
        match draw(
            st.sampled_from(["replace", "text", "id", "remove", "exchange", "add", "rename"])
        ):
            case "replace":
                within[key] = draw(VALUES)
            case "text":
                within[key] = draw(TEXTS)
            case "id":
                message[draw(st.sampled_from(["command_id", "session_id", "proxy_id"]))] = draw(
                    TEXTS
                )
            case "remove":
                del within[key]
            case "exchange":
                other, other_key = draw(st.sampled_from(found))
                if "PASSWORD" in (key, other_key):
                    # What is sent as an id or a name is echoed, and no secret.
                    continue
                with contextlib.suppress(KeyError, IndexError):
                    within[key], other[other_key] = (
                        copy.deepcopy(other[other_key]),
                        copy.deepcopy(within[key]),
                    )
            case "add" if isinstance(within, dict):
                within[draw(TEXTS)] = draw(VALUES)
            case "rename" if isinstance(within, dict):
                within[draw(TEXTS)] = within.pop(key)
    return message


@st.composite
def broken(draw: st.DrawFn) -> str | bytes:
    """A frame that holds several messages, duplicates, parts of messages, or none."""
    messages = [written(one) for one in draw(st.lists(mutated(), min_size=1, max_size=4))]
    text = draw(st.sampled_from(["\n", "", " ", ",", "\n\n"])).join(messages)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["cut", "insert", "double", "quotes", "repeat"])):
            case "cut":
                text = text[:at]
            case "insert":
                text = text[:at] + draw(st.text(max_size=5)) + text[at:]
            case "double":
                text += text[:at]
            case "quotes":
                text = text.replace('"', "'", 3)
            case "repeat" if len(text) < 2000:
                text = text * 150
    data = text.encode("utf-8", "replace")
    form = draw(st.sampled_from(["text", "text", "binary", "no UTF-8"]))
    if form == "no UTF-8":
        return data[: len(data) // 2] + draw(st.binary(max_size=8)) + data[len(data) // 2 :]
    return data if form == "binary" else data.decode()
