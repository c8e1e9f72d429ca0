"""Keys of instances, and the handles that are made of them."""

from __future__ import annotations

import pytest

from vcloud import Controllable, Endpoint, HMACAuth, InvalidArgumentError
from vcloud._core.client import handle_of
from vcloud._core.keys import instance_key, split_key
from vcloud.providers.computers import MachineRef, VagonComputers
from vcloud.providers.streams import StreamMachineRef, VagonStreams

PROVIDERS = ("streams", "computers")


@pytest.mark.parametrize("id", ["100", "a/b", "computers/1", "é", " "])
def test_a_key_is_split_into_what_it_was_made_of(id: str) -> None:
    assert split_key(instance_key("computers", id), PROVIDERS) == ("computers", id)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("100", "'PROVIDER/ID', such as 'computers/100', not '100'; the providers are streams"),
        ("computer/100", "'computer' is none of streams, computers"),
        ("/100", "'' is none of"),
        ("computers/", "id must not be ''"),
        ("computers/..", "id must not be '..'"),
        (100, "key must be a string such as 'computers/100', not int: 100"),
    ],
)
def test_an_invalid_key_says_what_a_key_is(key: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        split_key(key, PROVIDERS)
    assert words in str(caught.value)


async def test_the_id_of_an_instance_becomes_the_handle_that_ref_returns() -> None:
    endpoint = Endpoint(auth=HMACAuth("key", "secret"))
    async with VagonComputers(endpoint) as computers, VagonStreams(endpoint) as streams:
        machine: Controllable = handle_of(computers, 100)
        assert isinstance(machine, MachineRef)
        assert machine == computers.machines.ref("100")
        assert isinstance(handle_of(streams, "5"), StreamMachineRef)
        with pytest.raises(InvalidArgumentError, match="id must not be"):
            handle_of(computers, "..")
