"""What must not travel."""

from __future__ import annotations

from typing import NoReturn


class Secretive:
    """Something that holds a secret: it has no telling repr and cannot be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and cannot be pickled: make it anew where it is needed")
