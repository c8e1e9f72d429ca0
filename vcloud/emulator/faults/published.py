"""The faults of one service only: what comes and goes on an installation of StreamSpace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import field, frozen


@frozen
class Order:
    """A fault's name and arguments."""

    name: str
    arguments: Mapping[str, Any] = field(factory=dict)


@frozen
class StreamSpaceFaults(Order):
    """What a published StreamSpace does at times. All other answers are left as they are."""

    @classmethod
    def end_logins(cls) -> Self:
        """Process, and after a success end all logins, as StreamSpace does where it has Redis.

        Its published server does so after each change of a session: give the route
        `"[PD]* */sessions*"`. Tokens are exchanged by `/auth/refresh` all the same.
        """
        return cls("end_logins")

    @classmethod
    def kept_answer(cls) -> Self:
        """Process a GET as StreamSpace where it has Redis: with an answer of up to 30 s ago.

        Such an answer has `X-Cache: HIT`. It was given to the same user at the same URL, to a
        request with this fault. Those about templates are up to 5 minutes old.
        """
        return cls("kept_answer")

    @classmethod
    def database_away(cls) -> Self:
        """Process as StreamSpace while its database is away: every login is refused with 401."""
        return cls("database_away")

    @classmethod
    def other_replica(cls) -> Self:
        """Process as another replica of StreamSpace, to which no agent is connected.

        VNC is refused with 503, and commands are lost after their 202.
        """
        return cls("other_replica")

    @classmethod
    def repeat_commands(cls) -> Self:
        """Process, and send connected agents all commands ever made again, of any age."""
        return cls("repeat_commands")
