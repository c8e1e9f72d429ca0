"""Lists with undecodable items: the error names the first, and the others are not lost."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.contract_harness import PROVIDERS
from tests.unit.hostile import ONCE, STEADY, answered
from vcloud import DecodeError, Endpoint, HMACAuth, InstanceState, Response
from vcloud._core.client import client_with
from vcloud._core.codec import MAX_BROKEN, Codec
from vcloud._core.connections.options import TransportOptions
from vcloud._core.transport import Transport
from vcloud.providers.computers import BaseImage, Software, VagonComputers

COMPUTERS = PROVIDERS["computers"]


def item(id: object, **attributes: object) -> dict[str, Any]:
    return {"id": id, "type": "machine", "attributes": {"name": f"Computer {id}", **attributes}}


def body(**answer: object) -> bytes:
    return json.dumps({"client_code": 200, **answer}).encode()


def computers(answer: bytes) -> VagonComputers:
    client, _ = answered(COMPUTERS, 200, {}, answer)
    assert isinstance(client, VagonComputers)
    return client


class Shelf(Transport):
    """Serves pages of machines, some of them broken, in one of the forms of pagination."""

    def __init__(self, machines: list[Any], per_page: int, says: str) -> None:
        super().__init__()
        self.machines, self.per_page, self.says = machines, per_page, says
        self.asked: list[int] = []

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        number = int(parse_qs(urlsplit(url).query)["page"][0])
        self.asked.append(number)
        start = (number - 1) * self.per_page
        answer: dict[str, object] = {
            "client_code": 200,
            "machines": self.machines[start : start + self.per_page],
        }
        more = start + self.per_page < len(self.machines)
        if self.says == "next_page":
            answer["next_page"] = number + 1 if more else None
        elif self.says == "count":
            answer["count"] = len(self.machines)
        return Response(200, {}, json.dumps(answer).encode())


#: What breaks an item, and the field that an error must name.
BROKEN: list[tuple[Any, str]] = [
    (7, ""),
    (item([]), ".id"),
    (item("x", disk_size="much"), ".attributes.disk_size"),
    (item("x", permissions=[]), ".attributes.permissions"),
    ({"type": "machine", "attributes": {}}, ".id"),
]


def first_broken(places: list[tuple[Any, str] | None], per_page: int) -> list[tuple[int, str]]:
    """The pages with broken items, and the path of the first one on each."""
    found = []
    for start in range(0, len(places), per_page):
        page = places[start : start + per_page]
        first = next((index for index, broken in enumerate(page) if broken), None)
        if first is not None:
            field = page[first][1]  # type: ignore[index]
            found.append((start // per_page + 1, f"machines[{first}]{field}"))
    return found


@pytest.mark.parametrize("says", ["next_page", "count", "nothing"])
def test_a_page_with_broken_items_is_an_error_and_the_rest_of_the_list_still_comes(
    says: str,
) -> None:
    with asyncio.Runner() as runner:

        @settings(STEADY, max_examples=60)
        @given(
            st.integers(1, 5),
            st.lists(st.none() | st.sampled_from(BROKEN), max_size=18),
            st.sampled_from([0, 3]),
        )
        def check(per_page: int, places: list[tuple[Any, str] | None], ahead: int) -> None:
            machines = [
                item(str(index)) if broken is None else broken[0]
                for index, broken in enumerate(places)
            ]
            shelf = Shelf(machines, per_page, says)
            client = client_with(
                VagonComputers,
                Endpoint("http://127.0.0.1", auth=HMACAuth("key", "secret"), retry=ONCE),
                transport=shelf,
            )
            pager = client.machines.list(per_page=per_page)
            ids, errors = runner.run(read(pager.prefetch(ahead) if ahead else pager))
            assert ids == [str(index) for index, broken in enumerate(places) if broken is None]
            expected = first_broken(places, per_page)
            assert len(errors) == len(expected)
            for error, (number, place) in zip(errors, expected, strict=True):
                assert f"page {number} is not what the contract says" in str(error)
                assert place in str(error)
                assert [one.id for one in error.items] == [
                    str((number - 1) * per_page + index)
                    for index, broken in enumerate(
                        places[(number - 1) * per_page : number * per_page]
                    )
                    if broken is None
                ]
            pages = -(-len(places) // per_page)
            whole = says == "nothing" and len(places) % per_page == 0
            assert sorted(shelf.asked) == list(range(1, max(1, pages + whole) + 1))

        check()


async def read(pager: Any) -> tuple[list[str], list[DecodeError]]:
    """Everything that iterating on gives: the ids in their order, and the errors."""
    ids: list[str] = []
    errors: list[DecodeError] = []
    machines = aiter(pager)
    while True:
        try:
            ids.append((await anext(machines)).id)
        except DecodeError as error:
            errors.append(error)
            ids.extend(one.id for one in error.items)
        except StopAsyncIteration:
            return ids, errors


async def test_the_values_of_such_an_error_can_be_used_shown_and_pickled() -> None:
    answer = body(machines=[item("1", new=1), item("2", disk_size="much"), item("3", new=3)])
    with pytest.raises(
        DecodeError, match=r"page 1 .*machines\[1\]\.attributes\.disk_size"
    ) as caught:
        await computers(answer).machines.list().all()
    first, last = caught.value.items
    assert (first.raw["attributes"]["new"], last.raw["attributes"]["new"]) == (1, 3)
    assert last.name == "Computer 3"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.items) == (str(caught.value), (first, last))


async def test_items_that_were_seen_or_that_a_view_leaves_out_are_not_held_again() -> None:
    machines: list[Any] = [item("1"), item("2"), item("2"), 7, item("3"), item("4")]
    shelf = Shelf(machines, 2, "next_page")
    client = client_with(
        VagonComputers,
        Endpoint("http://127.0.0.1", auth=HMACAuth("key", "secret"), retry=ONCE),
        transport=shelf,
    )
    pager = client.machines.list().map(lambda one: None if one.id == "1" else one.id)
    got: list[str] = []
    pages_of = pager.pages()
    got.extend((await anext(pages_of)).items)
    with pytest.raises(DecodeError, match=r"page 2 .*machines\[1\]") as caught:
        await anext(pages_of)
    got.extend(caught.value.items)
    got.extend((await anext(pages_of)).items)
    assert got == ["2", "3", "4"]


async def test_a_broken_item_among_new_machines_does_not_hide_the_others() -> None:
    answer = body(machines=[item("1"), item("2", disk_size="much"), item("3")])
    with pytest.raises(DecodeError, match=r"machines\[1\]\.attributes\.disk_size") as caught:
        await computers(answer).machines.create(1, quantity=3)
    assert [machine.id for machine in caught.value.items] == ["1", "3"]
    assert caught.value.outcome_unknown


async def test_a_broken_item_of_a_short_list_is_named_and_the_others_are_held() -> None:
    answer = body(
        machine_types=[{"id": "9", "attributes": {"cpu": "many"}}, {"id": "11", "attributes": {}}]
    )
    with pytest.raises(DecodeError, match=r"machine_types\[0\]\.attributes\.cpu") as caught:
        await computers(answer).machines.ref("1").available_machine_types()
    assert [kind.id for kind in caught.value.items] == ["11"]


async def test_credentials_in_a_broken_item_are_not_in_the_error() -> None:
    class Echo(Transport):
        def check(self) -> None: ...

        async def exchange(
            self,
            method: str,
            url: str,
            headers: Mapping[str, str],
            body: bytes | None,
            wire: TransportOptions,
        ) -> Response:
            said = headers["Authorization"]
            machines = [item("1"), item("2", disk_size=said)]
            return Response(
                200, {}, json.dumps({"client_code": 200, "machines": machines}).encode()
            )

    client = client_with(
        VagonComputers,
        Endpoint("http://127.0.0.1", auth=HMACAuth("key-canary", "secret"), retry=ONCE),
        transport=Echo(),
    )
    with pytest.raises(DecodeError, match="disk_size") as caught:
        await client.machines.list().all()
    assert "canary" not in str(caught.value)
    assert [machine.id for machine in caught.value.items] == ["1"]


async def test_a_list_of_streamspace_goes_on_after_a_broken_item() -> None:
    sessions: list[Any] = [{"id": "a"}, {"id": "b", "tags": 7}, {"name": "admin-firefox"}]
    answer = {"sessions": sessions, "pagination": {"page": 1, "limit": 3, "total": 3}}
    client, transport = answered(PROVIDERS["streamspace"], 200, {}, json.dumps(answer).encode())
    ids, (error,) = await read(client.sessions.list())
    assert ids == ["a", "admin-firefox"]
    assert "page 1" in str(error)
    assert "sessions[1].tags" in str(error)
    assert len(transport.asked) == 1


# -- bounds ----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Counted:
    """A model that counts how often one is built."""

    looked_at: ClassVar[list[object]] = []

    number: int

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        cls.looked_at.append(value)
        return value


@frozen(kw_only=True)
class CountedList:
    item_fields: ClassVar = ("numbers",)

    numbers: list[Counted] | None = None


def test_only_a_bounded_number_of_broken_items_is_examined() -> None:
    answer = json.dumps({"numbers": [{"number": "x"}] * 5000}).encode()
    Counted.looked_at.clear()
    with pytest.raises(DecodeError, match=r"numbers\[0\]\.number"):
        Codec().decode(answer, CountedList)
    assert len(Counted.looked_at) < 10
    Counted.looked_at.clear()
    found, broken = Codec().decode_items(answer, CountedList)
    assert found.numbers == []
    assert broken["numbers"].count == 5000
    assert "4999 more" in broken["numbers"].reason
    assert len(Counted.looked_at) == MAX_BROKEN


def test_broken_items_do_not_lose_the_readable_ones() -> None:
    numbers = [{"number": "x" if index % 100 == 7 else index} for index in range(1000)]
    found, broken = Codec().decode_items(json.dumps({"numbers": numbers}).encode(), CountedList)
    assert found.numbers is not None
    assert [one.number for one in found.numbers] == [n for n in range(1000) if n % 100 != 7]
    assert broken["numbers"].count == 10
    assert broken["numbers"].positions[:8] == (0, 1, 2, 3, 4, 5, 6, 8)


def test_a_list_answer_that_carries_a_secret_shows_the_place_alone() -> None:
    answer = json.dumps({"numbers": [{"number": 1}, {"number": "hunter2"}]}).encode()
    _, broken = Codec().decode_items(answer, CountedList, sensitive=True)
    assert broken["numbers"].reason.startswith("numbers[1]")
    assert "hunter2" not in broken["numbers"].reason


# -- software --------------------------------------------------------------------------------------

FLAT = {"id": 1, "name": "Blender", "size": 500_000_000}
WRAPPED = {"id": "1", "type": "software", "attributes": {"name": "Blender", "size": 500_000_000}}
FLAT_IMAGE = {"id": 100, "name": "Windows", "size": 75, "type": "base_image"}
WRAPPED_IMAGE = {
    "id": "100",
    "type": "base_image",
    "attributes": {"name": "Windows", "size": 75},
}


@pytest.mark.parametrize("software", [FLAT, WRAPPED])
@pytest.mark.parametrize("image", [FLAT_IMAGE, WRAPPED_IMAGE])
async def test_software_is_read_flat_and_with_attributes(
    software: dict[str, Any], image: dict[str, Any]
) -> None:
    catalog = computers(body(software=[software], base_images=[image])).software
    assert await catalog.list().all() == [Software(id="1", name="Blender", size=500_000_000)]
    assert await catalog.base_images().all() == [
        BaseImage(id="100", name="Windows", size=75, type="base_image")
    ]


async def test_broken_images_do_not_hide_the_software() -> None:
    catalog = computers(body(software=[FLAT, {"id": []}, WRAPPED], base_images=[7])).software
    with pytest.raises(DecodeError, match=r"software\[1\]\.id") as caught:
        await catalog.list().all()
    assert [one.name for one in caught.value.items] == ["Blender", "Blender"]
    catalog = computers(body(software=[FLAT], base_images=[7])).software
    assert len(await catalog.list().all()) == 1
    with pytest.raises(DecodeError, match=r"base_images\[0\]"):
        await catalog.base_images().all()


async def test_an_error_says_whether_its_page_was_passed() -> None:
    client = computers(body(machines=[item("1"), item([]), item("3")]))
    pages = client.machines.list().pages()
    with pytest.raises(DecodeError) as caught:
        await anext(pages)
    assert pages.passed(caught.value)
    assert not pages.passed(DecodeError("of another list"))
    assert not pages.passed(TimeoutError())
    assert [page async for page in pages] == []

    pages = computers(body(machines="none")).machines.list().pages()
    with pytest.raises(DecodeError) as caught:
        await anext(pages)
    assert not pages.passed(caught.value)


async def test_collecting_a_list_with_broken_items_raises_with_their_neighbours() -> None:
    client = computers(body(machines=[item("1"), item([]), item("3")]))
    for collect in (client.machines.list().first, client.machines.list().all):
        with pytest.raises(DecodeError) as caught:
            await collect()
        assert [machine.id for machine in caught.value.items] == ["1", "3"]


async def test_items_go_on_with_the_readable_ones_of_a_page_only_after_its_error() -> None:
    client = computers(body(machines=[item("1"), item([]), item("3")]))
    items = aiter(client.machines.list())
    with pytest.raises(DecodeError) as caught:
        await anext(items)
    assert not items.keep_readable(DecodeError("of another list"))
    assert items.keep_readable(caught.value)
    assert [machine.id async for machine in items] == ["1", "3"]


# -- fleets that do not say everything -------------------------------------------------------------


async def test_a_machine_without_a_status_or_a_name_is_an_instance_of_unknown_state() -> None:
    machines = [item("1"), {"id": "2"}, {"id": "3", "attributes": {"friendly_status": "ready"}}]
    client = computers(body(machines=machines))
    first, second, third = await client.instances().all()
    assert (first.name, first.state) == ("Computer 1", InstanceState.UNKNOWN)
    assert (second.name, second.state) == ("2", InstanceState.UNKNOWN)
    assert (third.name, third.state, third.started_at) == ("3", InstanceState.RUNNING, None)


async def test_waiting_for_a_state_needs_one() -> None:
    client = computers(body(**item("1")))
    with pytest.raises(DecodeError, match="it has no friendly_status"):
        await client.machines.ref("1").wait_until("ready")


async def test_a_nested_resource_may_come_without_its_id() -> None:
    stream = {"id": "7", "attributes": {"application": {"attributes": {"name": "App"}}}}
    client, _ = answered(PROVIDERS["streams"], 200, {}, body(**stream))
    got = await client.streams.ref("7", uid="u").refresh()
    assert (got.id, got.uid, got.application.name, got.application.id) == ("7", None, "App", "")
