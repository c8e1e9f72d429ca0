"""What all providers share: states, verbs and capabilities of an instance by its key."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import AsyncIterator
from inspect import iscoroutinefunction
from typing import Any

import attrs
import pytest

from tests.unit.test_public import ENDPOINTS
from vcloud import (
    Capabilities,
    ConfigurationError,
    Controllable,
    Instance,
    InstanceRef,
    InstanceState,
    InvalidArgumentError,
    UnsupportedError,
    VCloud,
)
from vcloud._core.client import session_of
from vcloud._core.instances import InstanceHandle
from vcloud.bulk.references import ItemMaker
from vcloud.providers.computers import Machine, MachineRef
from vcloud.providers.desktops import Desktop, DesktopRef
from vcloud.providers.streams import StreamMachine, StreamMachineRef
from vcloud.providers.streamspace import Session, SessionRef
from vcloud.testing import make_stream_machine

HANDLES: dict[str, type[InstanceHandle[Any, Any]]] = {
    "streams": StreamMachineRef,
    "computers": MachineRef,
    "streamspace": SessionRef,
    "desktops": DesktopRef,
}
FETCHED: tuple[type[Any], ...] = (Machine, StreamMachine, Session, Desktop)
VERBS = ("start", "hibernate", "wake", "connect_url")


@pytest.fixture
async def cloud() -> AsyncIterator[VCloud]:
    async with VCloud(**ENDPOINTS) as cloud:  # type: ignore[arg-type]
        yield cloud


def can(capabilities: Capabilities, verb: str) -> bool:
    found: bool = getattr(capabilities, "connect" if verb == "connect_url" else verb)
    return found


# -- the key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", HANDLES)
def test_a_key_becomes_the_handle_and_the_handle_the_key(cloud: VCloud, provider: str) -> None:
    by_key = cloud.instance(f"{provider}/100")
    assert by_key == cloud.instance(provider, "100") == cloud.instance(provider, 100)
    assert type(by_key) is InstanceRef
    assert (by_key.provider, by_key.id, by_key.key) == (provider, "100", f"{provider}/100")
    assert type(by_key.resource) is HANDLES[provider]
    assert isinstance(by_key.resource, Controllable)
    assert session_of(getattr(cloud, provider)).service.provider == provider
    assert by_key.resource.as_instance() == by_key


def test_an_id_keeps_its_slashes(cloud: VCloud) -> None:
    for instance in (cloud.instance("streamspace/a/b"), cloud.instance("streamspace", "a/b")):
        assert (instance.id, instance.key) == ("a/b", "streamspace/a/b")


def test_a_key_holds_no_secret(cloud: VCloud) -> None:
    instance = cloud.streams.machines.ref("9", uid="the-uid").as_instance()
    assert instance.key == "streams/9"
    assert "the-uid" not in repr(instance)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("100",), "must name the provider too: 'PROVIDER/ID', such as 'computers/100'"),
        (("machines/100",), "'machines' is none of streams, computers, streamspace, desktops"),
        (("machines", "100"), "provider must be one of streams, computers, streamspace, desktops"),
        (("computers/100", "5"), "provider must be one of streams, .* not 'computers/100'"),
        (("computers", ""), "id must not be ''"),
        (("computers/..",), "id must not be '..'"),
        (("computers", True), "or a Machine of computers, not bool"),
        (([], 1), "provider must be one of"),
        ((100,), "key must be a string such as 'computers/100', not int"),
    ],
)
def test_a_wrong_key_says_what_a_key_is(cloud: VCloud, given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        cloud.instance(*given)


@pytest.mark.parametrize("provider", HANDLES)
def test_what_was_fetched_is_taken_as_its_id_is(cloud: VCloud, provider: str) -> None:
    by_key = cloud.instance(provider, "100")
    kind: Any = HANDLES[provider]
    made = kind(id="100")  # belongs to no client
    assert cloud.instance(provider, made) == by_key
    assert session_of(getattr(cloud, provider)) is cloud.instance(provider, made).resource._session  # type: ignore[attr-defined]  # noqa: SLF001
    with pytest.raises(InvalidArgumentError, match=r"it has the methods .* in its as_instance\(\)"):
        cloud.instance(made)
    other = "computers" if provider == "desktops" else "desktops"
    with pytest.raises(InvalidArgumentError, match=f"or a .* of {other}, not a .* of {provider}"):
        cloud.instance(other, made)


def test_a_streams_machine_keeps_its_uid(cloud: VCloud) -> None:
    machine = make_stream_machine(id="9", uid="the-uid")
    resource = cloud.instance("streams", machine).resource
    assert isinstance(resource, StreamMachineRef)
    assert resource.uid == "the-uid"


def test_wrong_arguments_of_instance_are_answered_with_the_right_ones(cloud: VCloud) -> None:
    with pytest.raises(TypeError, match="no argument 'key': instance takes provider and id"):
        cloud.instance(key="computers/100")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="instance needs provider"):
        cloud.instance(id="100")  # type: ignore[call-arg]


def test_a_provider_that_is_not_configured_says_what_to_set() -> None:
    cloud = VCloud(computers=ENDPOINTS["computers"])
    assert cloud.instance("computers/1").key == "computers/1"
    with pytest.raises(ConfigurationError, match=r"streams is not configured: .* VCLOUD_STREAMS"):
        cloud.instance("streams/1")


# -- what is possible ------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", HANDLES)
def test_capabilities_are_the_methods_that_there_are(cloud: VCloud, provider: str) -> None:
    instance = cloud.instance(provider, "1")
    capabilities = instance.capabilities
    assert isinstance(instance.resource, InstanceHandle)
    assert instance.resource.capabilities == capabilities
    for verb in VERBS:
        method = getattr(instance.resource, verb, None)
        assert iscoroutinefunction(method) is can(capabilities, verb), verb
    assert capabilities.stop
    assert not capabilities.stop_loses_disk or capabilities.stop_is_final


@pytest.mark.parametrize("provider", HANDLES)
@pytest.mark.parametrize("verb", VERBS)
async def test_what_a_provider_does_not_have_says_what_to_do_instead(
    cloud: VCloud, provider: str, verb: str
) -> None:
    instance = cloud.instance(provider, "1")
    if can(instance.capabilities, verb):
        return
    with pytest.raises(UnsupportedError, match=rf"^{provider}/1 has no {verb}\(\): ") as caught:
        await getattr(instance, verb)()
    assert not caught.value.outcome_unknown
    instead = str(caught.value).partition(": ")[2]
    # It names something that there is.
    named = [one or other for one, other in re.findall(r"(\w+)\(|\.(\w+)\b(?!\()", instead)]
    with pytest.raises(AttributeError, match=re.escape(instead)):
        getattr(instance.resource, verb)
    owners = (instance.resource, getattr(cloud, provider), *stream_handles(cloud))
    assert named
    assert all(any(hasattr(owner, name) for owner in owners) for name in named), named


def stream_handles(cloud: VCloud) -> tuple[object, ...]:
    return (cloud.streams.streams.ref("1"),)


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("handle", HANDLES.values())
def test_every_state_of_a_provider_is_one_that_all_share(
    handle: type[InstanceHandle[Any, Any]],
) -> None:
    lifecycle = handle._lifecycle  # noqa: SLF001 - no public name has it
    assert set(lifecycle.shared) == set(lifecycle.states)
    assert InstanceState.UNKNOWN not in lifecycle.shared.values()
    assert {InstanceState.STARTING, InstanceState.RUNNING} <= set(lifecycle.shared.values())
    assert lifecycle.shared_state("new word") is InstanceState.UNKNOWN
    assert lifecycle.shared_state(None) is InstanceState.UNKNOWN


def test_a_state_on_the_way_is_not_the_one_at_its_end() -> None:
    """Or a wait would end too early; apache/libcloud#246 showed ``stopping`` as ``stopped``."""
    for handle in HANDLES.values():
        for state, shared in handle._lifecycle.shared.items():  # noqa: SLF001 - as above
            if shared in {InstanceState.STOPPED, InstanceState.HIBERNATED, InstanceState.RUNNING}:
                assert not state.endswith(("ing", "_on", "_off")) or state == "running", state


@pytest.mark.parametrize("provider", HANDLES)
@pytest.mark.parametrize("state", InstanceState)
async def test_a_wait_for_what_a_provider_never_is_ends_at_once(
    cloud: VCloud, provider: str, state: InstanceState
) -> None:
    instance = cloud.instance(provider, "1")
    assert isinstance(instance.resource, InstanceHandle)
    lifecycle = instance.resource._lifecycle  # noqa: SLF001 - as above
    if state in lifecycle.shared.values():
        return
    for waiting in (instance, instance.resource):
        with pytest.raises(InvalidArgumentError, match=rf"is never {state}: it can be \w+"):
            await waiting.wait_until(state)


@pytest.mark.parametrize("state", ["ready", "RUNNING", "", (), None, 3, ["running", "ready"]])
async def test_a_wait_takes_the_shared_words(cloud: VCloud, state: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="state") as caught:
        await cloud.instance("computers/1").wait_until(state)
    if state == "ready":
        assert "state must be one of starting, running" in str(caught.value)


# -- values ----------------------------------------------------------------------------------------


def made(provider: str, state: InstanceState = InstanceState.RUNNING) -> Instance:
    handle: Any = HANDLES[provider]
    resource = handle(id="1")
    return Instance(provider, "1", "one", state, None, None, resource)


@pytest.mark.parametrize("provider", HANDLES)
def test_an_instance_is_its_handle_with_a_state(cloud: VCloud, provider: str) -> None:
    instance = made(provider)
    assert isinstance(instance, InstanceRef)
    assert instance.key == f"{provider}/1"
    assert instance.capabilities == cloud.instance(instance.key).capabilities
    fresh = cloud.instance(instance.key)
    assert not hasattr(fresh, "state"), "it was not fetched"
    with pytest.raises(AttributeError, match=r"write \(await .*refresh\(\)\)\.state"):
        fresh.state  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("provider", HANDLES)
async def test_it_is_a_value(cloud: VCloud, provider: str) -> None:
    for instance in (cloud.instance(provider, "1"), made(provider)):
        for copied in (
            pickle.loads(pickle.dumps(instance)),
            copy.copy(instance),
            copy.deepcopy(instance),
        ):
            assert copied == instance
            assert hash(copied) == hash(instance)
            assert copied.capabilities == instance.capabilities
            assert copied.key == instance.key
    unpickled = pickle.loads(pickle.dumps(cloud.instance(provider, "1")))
    with pytest.raises(ConfigurationError, match="belongs to no client"):
        await unpickled.refresh()
    other = attrs.evolve(made(provider), state=InstanceState.STOPPED)
    assert (other.state, other.key) == (InstanceState.STOPPED, f"{provider}/1")


async def test_an_instance_that_was_made_by_hand_says_so() -> None:
    instance = Instance("computers", "1", "", InstanceState.RUNNING, None, None, object())  # type: ignore[arg-type]
    for call in (instance.refresh, instance.start, lambda: instance.wait_until("running")):
        with pytest.raises(ConfigurationError, match="made by hand: its resource is a object"):
            await call()


def test_what_was_fetched_shows_its_state() -> None:
    for model in FETCHED:
        assert model.as_instance is not InstanceHandle.as_instance


def test_a_journal_keeps_which_machine_an_instance_is(cloud: VCloud) -> None:
    """Without a facade too: by the client of the run's other items."""
    for instance in (cloud.instance("computers/7"), cloud.instance("streams/7")):
        maker = ItemMaker()
        reference = maker.note(instance)
        assert reference is not None
        kept = maker.make(instance.key, reference)
        assert isinstance(kept, Instance)
        assert (kept.key, kept.state) == (instance.key, InstanceState.UNKNOWN)
        assert kept.resource == instance.resource
