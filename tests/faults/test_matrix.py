"""Every endpoint of all providers under every fault: each cell exists and passes.

``python -m tests.faults`` prints the whole table.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from tests.contract.contract_harness import PROVIDERS
from tests.contract.desktops_calls import ACTIONS
from tests.faults import cancelled, targets
from tests.faults.matrix import cells, require, run, table
from tests.faults.oracle import GATEWAYS, KINDS, NAMES, REFUSED_200, REFUSING
from tests.faults.targets import TARGETS
from vcloud.emulator import Fault

#: Endpoints of the documents, endpoints of StreamSpace's published server, and faults.
BEFORE: Final = 65
PUBLISHED_SERVER: Final = 25
FAULTS: Final = 65


def test_every_documented_endpoint_and_every_kind_of_fault_is_in_the_matrix() -> None:
    documented = {
        f"{api}:{one['id']}"
        for api, provider in PROVIDERS.items()
        for one in provider.document["operations"]
    }
    aimed_at = {target.id for target in TARGETS}
    assert documented - aimed_at == {"desktops:desktop.computer_action"}, (
        "whose nine actions stand for it"
    )
    assert aimed_at - documented - set(targets.PUBLISHED) == {
        f"desktops:desktop.computer_action.{action.tag}" for action in ACTIONS
    }
    assert set(NAMES) == set(KINDS) == {REFUSING, REFUSED_200, *GATEWAYS, *Fault.catalogue()}
    played = [(cell.target.id, cell.fault, cell.lasting) for cell in cells()]
    assert len(set(played)) == len(played) == len(TARGETS) * len(NAMES) * 2
    # What there was before the published StreamSpace, and that.
    counted = Counter(target.api == "streamspace-published" for target in TARGETS)
    assert (counted[False], counted[True], len(NAMES)) == (BEFORE, PUBLISHED_SERVER, FAULTS)


def test_the_effect_of_every_change_is_checked_in_the_service() -> None:
    changing = {target.id for target in TARGETS if target.method != "GET"}
    seen = {target.id for target in TARGETS if target.effect is not None}
    assert changing - seen == targets.TRACELESS
    known = {f"{target.provider.api}:{target.name}" for target in TARGETS}
    for table_of in (
        targets.LISTS,
        targets.SOCKETS,
        targets.COUNTED,
        targets.SEEN,
        targets.GONE,
        targets.PREPARED,
    ):
        assert set(table_of) <= known


@pytest.mark.parametrize("api", PROVIDERS)
async def test_every_call_under_every_fault_has_the_expected_outcome(api: str) -> None:
    mine = [target for target in TARGETS if target.api == api]
    verdicts = await run(cells(mine))
    print(f"\n{table(verdicts)}")
    assert len(verdicts) == len(mine) * len(NAMES) * 2
    require(verdicts)


async def test_every_call_can_be_cancelled_at_any_await_and_holds_nothing_afterwards() -> None:
    await cancelled.check(cancelled.cases())
