"""Vagon Computers against the emulator, over a real socket with real signatures."""

from __future__ import annotations

import asyncio
import collections
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from vcloud import (
    AuthenticationError,
    CapacityError,
    ConflictError,
    DecodeError,
    Endpoint,
    HMACAuth,
    InsufficientFundsError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RetryPolicy,
    TransportError,
    VagonCode,
    VagonComputers,
    VCloud,
    WaitTimeout,
)
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.providers.computers import MachineStatus, Permissions, TaskResult

MACHINES = "/organization-management/v1/machines"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped()) as emulator:
        yield emulator


@pytest.fixture
async def computers(emulator: Emulator) -> AsyncIterator[VagonComputers]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud.computers


async def test_a_machine_from_create_to_off(emulator: Emulator, computers: VagonComputers) -> None:
    (machine,) = await computers.machines.create(1, region="dublin")
    seen = []

    async def look(seconds: float) -> None:
        emulator.clock.advance(seconds)
        seen.append((await machine.refresh()).friendly_status)

    await look(0)
    await machine.start()
    await look(1)
    await look(20)
    await look(5)
    await machine.stop(gracefully=True)
    await look(1)
    await look(15)
    await look(10)
    await machine.start()
    await look(1)
    await look(20)
    assert [str(status) for status in seen] == [
        "off",
        "creating",
        "warming_up",
        "ready",
        "graceful_stopping",
        "turning_off",
        "off",
        "turning_on",
        "ready",
    ]


async def test_a_machine_starts_on_other_hardware_and_in_another_region(
    emulator: Emulator, computers: VagonComputers
) -> None:
    machine = computers.machines.ref(emulator.computers.add_machine(region="dublin").id)
    await refused(
        ConflictError,
        VagonCode.MACHINE_TYPE_UNAVAILABLE,
        machine.start(machine_type_id=999),
    )
    await machine.start(machine_type_id="15", region="oregon")
    started = await machine.refresh()
    assert (started.machine_type, started.region) == ("Spark", "oregon")


async def test_wait_until_follows_a_machine_that_moves() -> None:
    async with Emulator(speed=1000) as emulator, VCloud(**emulator.endpoints()) as cloud:
        (machine,) = await cloud.computers.machines.create(1, region="dublin")
        # Such a clock lets 15 minutes without use pass within a second.
        machine = await machine.update(auto_stop_threshold=0)
        await machine.start()
        ready = await cloud.computers.machines.ref(machine.id).wait_until(
            {"ready"}, timeout=timedelta(seconds=20), poll=0.005
        )
        assert ready.friendly_status is MachineStatus.READY
        (session,) = await ready.sessions.list().all()
        assert session.end_at is None


async def test_wait_until_times_out_with_the_last_status(computers: VagonComputers) -> None:
    (machine,) = await computers.machines.create(1, region="dublin")
    await machine.start()
    with pytest.raises(WaitTimeout, match=f"machine {machine.id} did not become ready") as caught:
        await machine.wait_until("ready", timeout=0.1, poll=0.03)
    assert caught.value.last == "creating"


async def test_paging_through_five_thousand_machines_yields_each_once() -> None:
    async with Emulator(machines=5000) as emulator, VCloud(**emulator.endpoints()) as cloud:
        counted = collections.Counter(
            [machine.id async for machine in cloud.computers.machines.list(per_page=100)]
        )
        assert len(counted) == 5000
        assert set(counted.values()) == {1}
        assert len(emulator.calls) == 50
        async for machine in cloud.computers.machines.list():
            if machine.id == "125":
                break
        await asyncio.sleep(0.02)
        assert len(emulator.calls) == 52, "stopping early sends nothing more"
        pages = [page async for page in cloud.computers.machines.list(page=249).pages()]
        assert [(page.number, len(page.items), page.total, page.next) for page in pages] == [
            (249, 20, 5000, 250),
            (250, 20, 5000, None),
        ]


async def test_a_create_whose_answer_is_lost_leaves_one_machine_and_an_unknown_outcome(
    emulator: Emulator, computers: VagonComputers
) -> None:
    emulator.faults.add(f"POST {MACHINES}", Fault.reset_after())
    with pytest.raises(
        TransportError, match="whether the service carried it out is unknown"
    ) as caught:
        await computers.machines.create(1, region="dublin")
    assert caught.value.outcome_unknown
    assert len(await computers.machines.list().all()) == 1
    assert [call.processed for call in emulator.calls if call.method == "POST"] == [True]


async def test_a_create_that_is_answered_but_unreadable_is_not_repeated(
    emulator: Emulator, computers: VagonComputers
) -> None:
    emulator.faults.add(f"POST {MACHINES}", Fault.truncate(40))
    with pytest.raises(TransportError) as caught:
        await computers.machines.create(1, region="dublin")
    assert caught.value.outcome_unknown
    emulator.faults.add(
        f"POST {MACHINES}", Fault.reply(200, b"<html>Welcome</html>", content_type="text/html")
    )
    with pytest.raises(DecodeError, match="<html>Welcome"):
        await computers.machines.create(1, region="dublin")
    assert len([call for call in emulator.calls if call.method == "POST"]) == 2


async def test_a_create_is_repeated_when_the_service_was_not_reached_or_refused(
    emulator: Emulator,
) -> None:
    endpoint = emulator.endpoints()["computers"]
    patient = Endpoint(endpoint.base_url, auth=endpoint.auth, retry=RetryPolicy(base=0.001))
    async with VagonComputers(patient) as computers:
        emulator.faults.add(f"POST {MACHINES}", Fault.reply(429, b"", headers={"Retry-After": "0"}))
        emulator.faults.add(f"POST {MACHINES}", Fault.server_error(503))
        await computers.machines.create(1, region="dublin", quantity=2)
        assert len(await computers.machines.list().all()) == 2


async def test_five_hundred_starts_at_once_share_one_session_and_all_count() -> None:
    async with Emulator(machines=500) as emulator, VCloud(**emulator.endpoints()) as cloud:
        refs = [cloud.computers.machines.ref(str(100 + number)) for number in range(500)]
        await asyncio.gather(*[ref.start() for ref in refs])
        assert len([call for call in emulator.calls if call.status == 200]) == 500
        states = {
            machine.friendly_status async for machine in cloud.computers.machines.list(per_page=100)
        }
        assert states <= {
            MachineStatus.CREATING,
            MachineStatus.TURNING_ON,
            MachineStatus.WARMING_UP,
        }


@pytest.mark.parametrize("skew", [-3600.0, 400.0, 86_400.0])
async def test_a_clock_that_is_off_is_corrected_with_one_more_request(
    emulator: Emulator, skew: float
) -> None:
    emulator.clock.offset = skew
    async with VCloud(**emulator.endpoints()) as cloud:
        await cloud.computers.machines.list().all()
        await cloud.computers.machines.list().all()
    assert [call.status for call in emulator.calls] == [401, 200, 200]


async def test_clock_skew_fails_none_of_many_concurrent_requests(emulator: Emulator) -> None:
    emulator.clock.offset = 3600.0
    async with VCloud(**emulator.endpoints()) as cloud:
        await asyncio.gather(*[cloud.computers.machines.list().all() for _ in range(20)])
    assert collections.Counter(call.status for call in emulator.calls)[200] == 20


async def test_a_wrong_secret_or_key_says_what_the_service_did_not_accept(
    emulator: Emulator,
) -> None:
    base_url = emulator.endpoints()["computers"].base_url
    key = emulator.organization.key
    for auth, said in (
        (HMACAuth(key, "sk_canary"), "signature"),
        (HMACAuth("ak_wrong", "sk_canary"), "key"),
    ):
        async with VagonComputers(Endpoint(base_url, auth=auth)) as computers:
            with pytest.raises(AuthenticationError, match=said) as caught:
                await computers.machines.list().all()
            assert "canary" not in str(caught.value)
            assert caught.value.status == 401
    assert len(emulator.calls) == 2, "no second try where none can help"


async def test_ids_are_one_segment_whatever_they_hold(
    emulator: Emulator, computers: VagonComputers
) -> None:
    for odd in (
        "a/b",
        "../machines",
        "x y",
        "Grüße",
        "100?x=1",
        "100#y",
        "%2e%2e",
        "a\\b",
        "\r\nX: y",
    ):
        with pytest.raises(NotFoundError):
            await computers.machines.get(odd)
    sent = len(emulator.calls)
    for bad in ("", ".", ".."):
        with pytest.raises(InvalidArgumentError):
            computers.machines.ref(bad)
    assert len(emulator.calls) == sent


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.machines.create(1, quantity=0, region="dublin"),
        lambda c: c.machines.create(1, quantity=True, region="dublin"),
        lambda c: c.machines.create("one", region="dublin"),
        lambda c: c.machines.create(1, region="dublin", software_ids=["x"]),
        lambda c: c.machines.create(1, region="dublin", software_ids="12"),
        lambda c: c.machines.create(1, region="dublin", software_ids=12),
        lambda c: c.machines.create(1, region=object()),
        lambda c: c.machines.create(1, region="dublin", permissions={"clipboard_enabled": True}),
        lambda c: c.machines.list(q=1.5).all(),
        lambda c: c.machines.list(q="\ud800").all(),
        lambda c: c.machines.ref("100").wait_until("redy"),
        lambda c: c.machines.ref("100").update(auto_stop_threshold=901),
        lambda c: c.machines.ref("100").update(),
        lambda c: c.machines.ref("100").create_access_link(30),
        lambda c: c.machines.ref("100").create_access_link(timedelta(seconds=90)),
        lambda c: c.machines.ref("100").set_permissions(Permissions()),
        lambda c: c.machines.ref("100").set_machine_type("Spark"),
        lambda c: c.machines.ref("100").tasks.activate(""),
        lambda c: c.machines.ref("100").tasks.activate("a:b"),
        lambda c: c.machines.ref("100").tasks.activate("a\\b"),
        lambda c: c.machines.ref("100").tasks.activate("x" * 256),
    ],
)
async def test_an_argument_that_the_document_forbids_is_refused_before_it_is_sent(
    emulator: Emulator, computers: VagonComputers, call: object
) -> None:
    with pytest.raises(InvalidArgumentError):
        await call(computers)  # type: ignore[operator]
    assert emulator.calls == []


async def refused(kind: type[Exception], code: VagonCode, call: object) -> None:
    with pytest.raises(kind) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code is code  # type: ignore[attr-defined]
    assert caught.value.meaning == code.meaning  # type: ignore[attr-defined]
    said = set(re.findall(r"\w+", str(caught.value).lower()))
    assert set(re.findall(r"\w+", code.meaning.lower())) - {"a", "is", "the"} <= said


async def test_every_refusal_of_a_machine_is_typed(
    emulator: Emulator, computers: VagonComputers
) -> None:
    service = emulator.computers
    off = computers.machines.ref(service.add_machine().id)
    ready = computers.machines.ref(service.add_machine(status="ready").id)
    creating = computers.machines.ref(service.add_machine(status="creating").id)
    resizing = computers.machines.ref(service.add_machine(status="resizing_disk").id)
    foreign = computers.machines.ref(service.add_machine(owner="somebody").id)
    bare = computers.machines.ref(service.add_machine(backup_enabled=False).id)
    full = computers.machines.ref(service.add_machine(region="tokyo").id)
    service.capacity["tokyo"] = 0

    await refused(NotFoundError, VagonCode.NOT_FOUND, computers.machines.get("9999"))
    await refused(
        NotFoundError, VagonCode.NOT_FOUND, computers.machines.create(99, region="dublin")
    )
    await refused(
        InvalidRequestError, VagonCode.BAD_REQUEST, computers.machines.create(1, region="atlantis")
    )
    await refused(PermissionDeniedError, VagonCode.OTHER_MEMBER, foreign.start())
    await refused(CapacityError, VagonCode.CAPACITY_UNAVAILABLE, full.start())
    await refused(ConflictError, VagonCode.DISK_RESIZING, resizing.start())
    await refused(ConflictError, VagonCode.MACHINE_NOT_READY, creating.start())
    await refused(ConflictError, VagonCode.MACHINE_NOT_RUNNING, off.stop())
    await refused(ConflictError, VagonCode.MACHINE_RUNNING, ready.start())
    await refused(ConflictError, VagonCode.MACHINE_RUNNING, ready.reset())
    await refused(ConflictError, VagonCode.MACHINE_RUNNING, ready.tasks.activate("x"))
    await refused(ConflictError, VagonCode.MACHINE_TYPE_UNAVAILABLE, off.set_machine_type(999))
    await refused(ConflictError, VagonCode.BACKUP_DISABLED, bare.tasks.activate("x"))
    outputs = await off.tasks.list().first()
    assert outputs is not None
    await refused(ConflictError, VagonCode.DEFAULT_TASK, outputs.delete())
    task = (await off.tasks.activate("short-lived")).task
    await task.delete()
    await refused(ConflictError, VagonCode.TASK_UID_DELETED, off.tasks.activate("short-lived"))


async def test_every_refusal_of_the_organisation_is_typed(
    emulator: Emulator, computers: VagonComputers
) -> None:
    org = emulator.organization
    org.balance = Decimal(0)
    await refused(
        InsufficientFundsError,
        VagonCode.INSUFFICIENT_BALANCE,
        computers.machines.create(1, region="dublin"),
    )
    org.default_region = None
    await refused(InvalidRequestError, VagonCode.REGION_REQUIRED, computers.machines.create(1))
    org.permissions.clear()
    await refused(
        PermissionDeniedError, VagonCode.PERMISSION_REQUIRED, computers.machines.list().all()
    )


async def test_a_deleted_task_name_is_free_again_after_a_reset(
    emulator: Emulator, computers: VagonComputers
) -> None:
    machine = computers.machines.ref(emulator.computers.add_machine().id)
    task = (await machine.tasks.activate("render")).task
    deleted = await task.delete()
    assert deleted is not None
    assert deleted.machine_id == machine.id
    await machine.reset()
    assert (await machine.tasks.activate("render")).result is TaskResult.CREATED


async def test_unknown_values_and_fields_of_the_service_are_kept(
    emulator: Emulator, computers: VagonComputers
) -> None:
    emulator.computers.add_machine()

    def drift(answer: dict[str, Any]) -> dict[str, Any]:
        answer["machines"][0]["attributes"] |= {"friendly_status": "dreaming", "gpu_hours": 7}
        return answer

    emulator.faults.add(f"GET {MACHINES}", Fault.edit(drift))
    machine = await computers.machines.list().first()
    assert machine is not None
    assert machine.friendly_status == "dreaming"
    assert not machine.friendly_status.known
    assert machine.raw["attributes"]["gpu_hours"] == 7


async def test_a_field_of_a_wrong_type_is_named(
    emulator: Emulator, computers: VagonComputers
) -> None:
    emulator.computers.add_machine()
    changes: list[tuple[dict[str, object], str]] = [
        ({"name": []}, "name"),
        ({"disk_size": "much"}, "disk_size"),
    ]
    for change, said in changes:

        def edit(answer: dict[str, Any], change: dict[str, object] = change) -> dict[str, Any]:
            answer["machines"][0]["attributes"].update(change)
            return answer

        emulator.faults.add(f"GET {MACHINES}", Fault.edit(edit))
        with pytest.raises(DecodeError, match=rf"machines\[0\]\.attributes\.{said}"):
            await computers.machines.list().all()


async def test_refusal_under_http_200_is_a_refusal(
    emulator: Emulator, computers: VagonComputers
) -> None:
    reply = Fault.reply(
        200, b'{"client_code":4206,"message":"Machine is running"}', content_type="application/json"
    )
    emulator.faults.add("POST *reset", reply)
    with pytest.raises(ConflictError, match="Machine is running") as caught:
        await computers.machines.ref(emulator.computers.add_machine().id).reset()
    assert caught.value.code is VagonCode.MACHINE_RUNNING


async def test_access_links_are_in_no_repr_and_no_error(
    emulator: Emulator, computers: VagonComputers
) -> None:
    machine = computers.machines.ref(emulator.computers.add_machine().id)
    link = await machine.create_access_link(timedelta(hours=1))
    assert link.connection_link not in repr(link)
    assert link.expires_at is not None
    assert link.expires_at > datetime.now(UTC)
    emulator.faults.add(
        "POST *access",
        Fault.edit(lambda answer: {"attributes": {"link": "https://canary"}, "client_code": 200}),
    )
    with pytest.raises(DecodeError) as caught:
        await machine.create_access_link(timedelta(hours=1))
    assert "canary" not in str(caught.value)
