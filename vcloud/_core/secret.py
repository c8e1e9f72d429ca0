"""What must not travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

if TYPE_CHECKING:
    from vcloud._core.request import Request


class Secretive:
    """Something that holds a secret: it has no telling repr and cannot be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and cannot be pickled: make it anew where it is needed")


def sent_secrets(request: Request) -> tuple[str, ...]:
    """What a request sends that must not come back in an error: the password or token in its body."""
    if not request.sensitive or request.body is None:
        return ()
    sent = msgspec.json.decode(request.body)
    return tuple(text for name in ("password", "token") if isinstance(text := sent.get(name), str) and text)


def hidden(value: Any, secrets: tuple[str, ...]) -> Any:
    """What was answered, without the secrets that were sent: a validation message may quote one."""
    if not secrets:
        return value
    if isinstance(value, dict):
        return {key: hidden(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [hidden(inner, secrets) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
    return value
