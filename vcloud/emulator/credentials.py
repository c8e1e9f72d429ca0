"""What opens an emulator: drawn anew for each, or drawn by a seed, or given."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from secrets import SystemRandom
from typing import Final, Self

from attrs import evolve, field, fields, frozen

Seed = int | str

ADMIN: Final = "admin"
"""The name of the StreamSpace administrator, unless the environment gives another."""

_PAIRS: Final = (
    ("computers_key", "computers_secret"),
    ("streams_key", "streams_secret"),
    ("streamspace_username", "streamspace_password"),
)
"""What is of no use without the other."""


def generator(seed: Seed | None) -> Random:
    """Return what keys, tokens, passwords and ids are drawn from.

    That is the system's source of secrets, or, with a seed, one that anybody can repeat.
    """
    return SystemRandom() if seed is None else Random(seed)


@frozen(kw_only=True)
class Credentials:
    """What clients show to an emulator. Each is called as its variable, without `VCLOUD_`."""

    computers_key: str
    computers_secret: str = field(repr=False)
    streams_key: str
    streams_secret: str = field(repr=False)
    streamspace_username: str = ADMIN
    streamspace_password: str = field(repr=False)
    streamspace_token: str | None = field(default=None, repr=False)
    """A token of the administrator that was given, and never ends; None for those of logins only."""
    desktops_api_key: str = field(repr=False)
    emulator_token: str = field(repr=False)
    """What the emulator's own administration takes while it serves real desktops."""

    def __attrs_post_init__(self) -> None:
        """Refuse two secrets of one key."""
        if self.computers_key == self.streams_key and self.computers_secret != self.streams_secret:
            msg = "one key has one secret: those for computers and streams differ"
            raise ValueError(msg)

    @classmethod
    def drawn(cls, seed: Seed | None = None) -> Self:
        """Draw everything; equal seeds draw the same, and None draws what nobody can guess."""
        # Not the series that the services draw their ids from, which clients see.
        random = generator(None if seed is None else f"credentials {seed}")
        key, secret = f"ak_{random.randbytes(10).hex()}", f"sk_{random.randbytes(24).hex()}"
        return cls(
            computers_key=key,
            computers_secret=secret,
            streams_key=key,
            streams_secret=secret,
            streamspace_password=random.randbytes(16).hex(),
            desktops_api_key=f"ck_{random.randbytes(24).hex()}",
            emulator_token=random.randbytes(24).hex(),
        )

    def given(self, environ: Mapping[str, str]) -> tuple[Self, tuple[str, ...]]:
        """Return these with what the environment gives, and the names of the variables that do.

        An empty variable gives nothing, as an unset one in a Compose file.

        Raises:
            ValueError: there is a key without its secret, or a name without its password.
        """
        found = {
            one.name: value
            for one in fields(type(self))
            if (value := environ.get(variable(one.name)))
        }
        for pair in _PAIRS:
            if len(there := found.keys() & set(pair)) == 1:
                (missing,) = set(pair) - there
                msg = f"the environment has {variable(*there)}, but not {variable(missing)}"
                raise ValueError(msg)
        return evolve(self, **found), tuple(variable(name) for name in found)


def variable(name: str) -> str:
    """Return the environment variable that gives a credential."""
    return f"VCLOUD_{name.upper()}"
