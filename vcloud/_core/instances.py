"""The common view of what all providers rent; :mod:`vcloud.instances` lists it."""

from __future__ import annotations

from collections import abc
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

import msgspec
from attrs import frozen

from vcloud._core.instance_state import Capabilities, InstanceState
from vcloud._core.keys import instance_key
from vcloud._core.model import Model
from vcloud._core.resource import Handle
from vcloud._core.states import Stateful, wanted_states
from vcloud._core.wrong_arguments import explained
from vcloud.errors import ConfigurationError, UnsupportedError
from vcloud.errors.text import word

__all__ = [
    "Capabilities",
    "Controllable",
    "Instance",
    "InstanceHandle",
    "InstanceKind",
    "InstanceRef",
    "InstanceState",
]

H = TypeVar("H", bound=Handle)
S = TypeVar("S", bound=str)


@runtime_checkable
class Controllable(Protocol):
    """What the machines, sessions and desktops of every provider can do.

    Each method acts on the object it is called on. ``start`` and ``connect_url`` are not part of
    it, because not every provider has them: a Streams machine that ended does not start again, and
    its link belongs to an assignment. Machines of Computers and sessions of StreamSpace have
    ``start``; these and desktops have ``connect_url``.
    """

    async def stop(self) -> object:
        """Stop it. Only machines of Computers can be started again."""
        ...

    async def wait_until(
        self, state: str, /, *, timeout: timedelta | float = ..., poll: timedelta | float = ...
    ) -> object:
        """Wait for a state, in the provider's words or as an :class:`~vcloud.InstanceState`."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """What is known of it, as plain JSON values without secrets."""
        ...


class InstanceKind(msgspec.Struct, frozen=True):
    """What all instances of one provider have in common.

    Attributes:
        provider: its name.
        capabilities: what they can do.
        instead: for each method that they do not have, what to do instead.
    """

    provider: str
    capabilities: Capabilities
    instead: Mapping[str, str]


class InstanceHandle(Stateful[H, S]):
    """A handle of something that runs, or could run. ``H`` is fetched, ``S`` is its state."""

    __slots__ = ()

    _kind: ClassVar[InstanceKind]

    @property
    def capabilities(self) -> Capabilities:
        """What can be done with it at all, whatever its state is now."""
        return self._kind.capabilities

    def as_instance(self) -> InstanceRef:
        """The view that all providers share of this; nothing is sent.

        Returns:
            an :class:`~vcloud.Instance` of what was fetched, an :class:`~vcloud.InstanceRef` of a
            handle.
        """
        return InstanceRef(self._kind.provider, self.id, self)

    async def stop(self) -> object:
        """Stop it."""
        raise NotImplementedError

    async def _fetch(self) -> H:
        """Fetch it as it is now, whatever is known of it."""
        return await self.refresh()


@frozen
class InstanceRef(Model):
    """Something that runs, or could run, by its provider and its id. No request was sent for it.

    It has the methods that providers share. What it is now is not known:
    :meth:`refresh` and :meth:`wait_until` return an :class:`~vcloud.Instance`, which is this with
    a state.

    ::

        instance = cloud.instance("computers/100")
        await instance.start()
        instance = await instance.wait_until(InstanceState.RUNNING)
        print(await instance.connect_url())

    Every method acts by the provider's own; ``resource`` has that, with its arguments and errors.
    One that the provider does not have raises an :class:`~vcloud.UnsupportedError` that says what
    to do instead; ``capabilities`` tells before. The README has a table of what each one means.

    A Streams machine is fetched by its uid, a secret that no key has. If you know it, use
    ``cloud.streams.machines.ref(id, uid=uid).as_instance()``; otherwise see :meth:`refresh`.

    Attributes:
        provider: ``"streams"``, ``"computers"``, ``"streamspace"`` or ``"desktops"``.
        id: the provider's id for it.
        resource: the provider's own object, to act on.
    """

    provider: str
    id: str
    resource: Controllable

    @property
    def key(self) -> str:
        """``provider/id``: what ``cloud.instance(key)`` takes, and what a bulk run's journal has.

        It is the same in every process, and holds no secret.
        """
        return instance_key(self.provider, self.id)

    @property
    def capabilities(self) -> Capabilities:
        """What can be done with it at all, whatever its state is now."""
        return self._handle.capabilities

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, without ``resource``, which has its own ``to_dict``."""
        plain = super().to_dict()
        del plain["resource"]
        return plain

    async def refresh(self) -> Instance:
        """Fetch it as it is now.

        One request. For a Streams machine whose uid is not known, ``GET /machines`` is read up to
        the machine instead; the result has the uid.

        Raises:
            NotFoundError: there is no such instance.
        """
        return _instance(await _fetch(self._handle))

    async def start(self) -> None:
        """Start it, or wake it.

        Raises:
            UnsupportedError: what was stopped never starts again: Streams, desktops.
            ConflictError: it is not in a state to be started.
        """
        await self._method("start")()

    async def stop(self) -> None:
        """Stop it. ``capabilities`` says whether that is final, and whether it loses the disk.

        Raises:
            ConflictError: it is not in a state to be stopped.
        """
        await self.resource.stop()

    async def hibernate(self) -> None:
        """Save its memory, and give up what it runs on.

        Raises:
            UnsupportedError: only StreamSpace can.
            ConflictError: it is not running.
        """
        await self._method("hibernate")()

    async def wake(self) -> None:
        """Run it again after :meth:`hibernate`.

        Raises:
            UnsupportedError: only StreamSpace can.
            ConflictError: it is not hibernated.
        """
        await self._method("wake")()

    async def connect_url(self) -> str:
        """The address at which a person uses it; a secret.

        For Computers a link that works for an hour; for StreamSpace the WebSocket of its VNC
        stream, with the token; for desktops its stream.

        Raises:
            UnsupportedError: a Streams machine has no link of its own.
            DecodeError: the address is not safe to open.
        """
        url: str = await self._method("connect_url")()
        return url

    @explained("wait_until")
    async def wait_until(
        self,
        state: InstanceState | str | abc.Collection[InstanceState | str],
        *,
        timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
    ) -> Instance:
        """Poll until it is in this state. Each poll is a :meth:`refresh`.

        Args:
            state: the state, or several of which one is enough: an :class:`~vcloud.InstanceState`
                or its text. ``resource.wait_until`` takes the provider's own words too.
            timeout: for the whole wait; seconds or timedelta. With 0 it is fetched once.
            poll: the polling interval; seconds or timedelta.

        Raises:
            InvalidArgumentError: there is no such state, or the provider has nothing like it, or a
                timeout is below 0.
            WaitTimeout: time is up; ``last`` is the last state seen, an ``InstanceState``.
            WaitFailed: it is in another state, which it never leaves.
            NotFoundError: there is no such instance.
        """
        handle = self._handle
        goals = wanted_states(state, InstanceState)
        return _instance(
            await handle._poll_until(goals, _fetching(handle), timeout=timeout, poll=poll)  # noqa: SLF001 - of this module
        )

    @property
    def _handle(self) -> InstanceHandle[Any, Any]:
        if not isinstance(self.resource, InstanceHandle):
            raise ConfigurationError(
                f"instance {word(self.key)} was made by hand: its resource is a "
                f"{type(self.resource).__name__}, which is no machine, session or desktop"
            )
        return self.resource

    def _method(self, name: str) -> Callable[[], Awaitable[Any]]:
        """A method of the resource.

        Raises:
            UnsupportedError: it has no such method.
        """
        handle = self._handle
        instead = handle._kind.instead.get(name)  # noqa: SLF001 - of this module
        if instead is not None:
            raise UnsupportedError(f"{word(self.key)} has no {name}(): {instead}")
        method: Callable[[], Awaitable[Any]] = getattr(handle, name)
        return method


@frozen
class Instance(InstanceRef):
    """Something that runs, or could run, as it was when it was fetched.

    Attributes:
        provider: ``"streams"``, ``"computers"``, ``"streamspace"`` or ``"desktops"``.
        id: the provider's id for it.
        name: for display.
        state: in the vocabulary that all providers share.
        region: where it is; None when the provider does not say.
        started_at: since when it runs; None when it does not run, or the provider does not say.
        resource: the provider's own object, to act on.
    """

    _guesses: ClassVar[tuple[str, ...]] = ("status",)

    name: str
    state: InstanceState
    region: str | None
    started_at: datetime | None
    resource: Controllable

    if TYPE_CHECKING:
        # For attrs, a field that is defined again comes where it is. Pyright leaves it where it
        # was, as dataclasses do.
        def __init__(  # noqa: PLR0917 - as attrs makes it
            self,
            provider: str,
            id: str,
            name: str,
            state: InstanceState,
            region: str | None,
            started_at: datetime | None,
            resource: Controllable,
        ) -> None: ...


async def _fetch(handle: InstanceHandle[H, Any]) -> H:
    return await handle._fetch()  # noqa: SLF001 - of this module


def _fetching(handle: InstanceHandle[Any, Any]) -> Callable[[], Awaitable[Any]]:
    """A function that fetches the resource again and again, by all that is known of it by then."""
    known = handle

    async def fetch() -> Any:
        nonlocal known
        known = await _fetch(known)
        return known

    return fetch


def _instance(fetched: Any) -> Instance:
    found = fetched.as_instance()
    assert isinstance(found, Instance)
    return found
