"""What a client knows of the installation that it talks to, where a provider has several kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vcloud._core.auth import Auth

__all__ = ["Installation"]


class Installation(Protocol):
    """What a client knows of its installation. All its sessions share it."""

    def logged_in(self, auth: Auth) -> None:
        """Learn from a credential that was just obtained, before anything is sent with it.

        Args:
            auth: the strategy that has it.

        Raises:
            VCloudError: it shows that the client is made for another kind of installation.
        """
        ...
