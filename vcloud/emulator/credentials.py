"""The keys, passwords and tokens of an emulator: random, from a seed, or given."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from random import Random
from secrets import SystemRandom, token_hex
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
"""Credentials that must be given together."""


def generator(seed: Seed | None) -> Random:
    """The generator of keys, tokens, passwords and ids.

    It is the system's source of secrets or, with a seed, a generator that anyone can repeat.
    """
    return SystemRandom() if seed is None else Random(seed)


def new_uuid(random: Random) -> str:
    """A random UUID (version 4)."""
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


@frozen(kw_only=True)
class Credentials:
    """What clients authenticate with. Each is named as its variable, without `VCLOUD_`."""

    computers_key: str
    computers_secret: str = field(repr=False)
    streams_key: str
    streams_secret: str = field(repr=False)
    streamspace_username: str = ADMIN
    streamspace_password: str = field(repr=False)
    streamspace_token: str | None = field(default=None, repr=False)
    """A token for the administrator that never expires; None accepts only those of logins."""
    streamspace_bootstrap_key: str = field(factory=lambda: token_hex(32), repr=False)
    """The key with which agents of the published StreamSpace register: 64 hexadecimal digits."""
    desktops_api_key: str = field(repr=False)
    emulator_token: str = field(repr=False)
    """The token for the emulator's administration while it serves real desktops."""

    def __attrs_post_init__(self) -> None:
        """Refuse two secrets for one key."""
        if self.computers_key == self.streams_key and self.computers_secret != self.streams_secret:
            msg = "one key has one secret: those for computers and streams differ"
            raise ValueError(msg)

    @classmethod
    def drawn(cls, seed: Seed | None = None) -> Self:
        """Generate all of them; equal seeds give equal ones."""
        # Not the sequence from which the services draw their ids, which clients see.
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
            streamspace_bootstrap_key=random.randbytes(32).hex(),
        )

    def given(self, environ: Mapping[str, str]) -> tuple[Self, tuple[str, ...]]:
        """These with the values from the environment, and the names of the variables used.

        An empty variable counts as unset, because Compose files make unset ones empty.

        Raises:
            ValueError: a key without its secret is set, or a name without its password.
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
    """The environment variable of a credential."""
    return f"VCLOUD_{name.upper()}"
