"""The entry of a provider in the facade."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

from vcloud._core.environment import Variables
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.client import Client

__all__ = ["Provider"]

C = TypeVar("C", bound="Client")


class Provider(Generic[C]):
    """The entry of a provider: an attribute of the facade, with what the facade needs to know.

    The client that the facade makes replaces it as an attribute of the facade. If the provider is
    not configured, reading the attribute raises a ConfigurationError.

    Args:
        client: its class, in the package of :mod:`vcloud.providers` with the attribute's name.
        variables: what ``from_env`` reads.
        doc: the attribute's documentation.
    """

    def __init__(self, client: str, variables: Variables, *, doc: str) -> None:
        self.__doc__ = doc
        self.variables: Variables = variables
        self._client = client

    def __set_name__(self, owner: type, name: str) -> None:
        assert name == self.variables.name

    @overload
    def __get__(self, facade: None, owner: object) -> Self: ...
    @overload
    def __get__(self, facade: object, owner: object) -> C: ...
    def __get__(self, facade: object, owner: object) -> C | Self:
        if facade is None:
            return self
        name = self.variables.name
        raise ConfigurationError(
            f"{name} is not configured: make VCloud({name}=Endpoint(auth=...)), "
            f"or set {self.variables.wanted} and use VCloud.from_env()"
        )

    def client_class(self) -> type[C]:
        """Import the class of its client."""
        package = import_module(f"vcloud.providers.{self.variables.name}")
        found: type[C] = getattr(package, self._client)
        return found
