"""Deliberately broken clients (mutants) do not pass the matrix, the cancellations or the storm."""

from __future__ import annotations

import re

import pytest
from attrs import frozen

from tests.faults import cancelled, matrix, mutations
from tests.faults.cancelled import Cancelled, Moment
from tests.faults.matrix import Cell, FailedError
from tests.faults.storm_calls import LostError
from tests.faults.storm_calls import check as check_storm
from tests.faults.targets import TARGETS, Target

ENDPOINTS: dict[str, Target] = {target.id: target for target in TARGETS}


@frozen
class Catch:
    """A mutation, a cell that it must not pass, and the expected flaw."""

    mutation: mutations.Mutation
    endpoint: str
    fault: str
    lasting: bool
    said: str

    @property
    def cell(self) -> Cell:
        return Cell(ENDPOINTS[self.endpoint], self.fault, self.lasting)

    def __str__(self) -> str:
        return f"{self.mutation.__name__}:{self.endpoint}:{self.fault}"


TWICE = "done 2 times, and must not be repeated"
CATCHES = [
    Catch(
        mutations.retry_a_post_on_reset, "computers:machines.create", "reset_after", False, TWICE
    ),
    Catch(
        mutations.retry_a_post_on_reset, "streams:streams.start_machine", "truncate", False, TWICE
    ),
    Catch(
        mutations.retry_a_post_on_reset,
        "streamspace:sessions.create",
        "truncate_chunked",
        False,
        TWICE,
    ),
    Catch(
        mutations.retry_a_post_on_reset,
        "desktops:desktop.create",
        "reset_after",
        True,
        "done 3 times, and must not be repeated",
    ),
    Catch(
        mutations.retry_a_post_on_gateway_error,
        "desktops:desktop.create",
        "server_error_after",
        False,
        TWICE,
    ),
    Catch(
        mutations.retry_a_post_on_gateway_error,
        "streamspace:users.create",
        "html_502_after",
        True,
        "sent 3 times, not 1",
    ),
    Catch(
        mutations.believe_a_gateways_503,
        "computers:machines.create",
        "html_503_after",
        False,
        TWICE,
    ),
    Catch(
        mutations.forget_that_an_answer_could_not_be_read,
        "streams:streams.start_machine",
        "huge_body",
        False,
        "outcome_unknown=False",
    ),
    Catch(
        mutations.take_anybodys_json_for_success,
        "computers:machines.start",
        "json_empty_200",
        False,
        "reported as done, and was not",
    ),
    Catch(
        mutations.take_a_used_nonce_for_wrong_credentials,
        "computers:machines.create",
        "replayed",
        False,
        "ended with AuthenticationError.* not with ServerError",
    ),
    Catch(
        mutations.take_a_used_nonce_for_wrong_credentials,
        "streams:applications.list",
        "replayed",
        False,
        "AuthenticationError.* already used",
    ),
    Catch(
        mutations.drop_the_nonce_renewal,
        "computers:machines.list",
        "reset_after",
        False,
        "ended with ServerError.* already used",
    ),
    Catch(
        mutations.drop_the_nonce_renewal,
        "streams:streams.update",
        "server_error_after",
        False,
        "ended with ServerError.* already used",
    ),
    Catch(
        mutations.keep_a_slot_on_error,
        "desktops:desktop.get",
        "refusing",
        True,
        "0 slots are free, not 1",
    ),
    Catch(
        mutations.follow_redirects,
        "computers:machines.list",
        "redirect_302",
        False,
        "followed a redirect to another host",
    ),
    Catch(
        mutations.follow_redirects,
        "desktops:desktop.create",
        "redirect_307",
        True,
        "followed a redirect to another host",
    ),
    Catch(
        mutations.ignore_retry_after,
        "computers:machines.list",
        "too_many_milliseconds",
        False,
        "asked to wait 0.5 s, came back",
    ),
    Catch(
        mutations.ignore_retry_after,
        "streamspace:users.create",
        "too_many_body",
        False,
        "asked to wait 1 s, came back after 0",
    ),
    Catch(
        mutations.ignore_retry_after,
        "desktops:desktop.stop",
        "server_error_503_retry_after",
        False,
        "asked to wait 1 s, came back",
    ),
    Catch(
        mutations.accept_refusals_under_http_200,
        "computers:machines.start",
        "refused_200",
        False,
        "reported as done, and was not",
    ),
    Catch(
        mutations.let_aiohttp_send_twice,
        "desktops:desktop.get",
        "reset_before",
        True,
        "sent 6 times, not 3",
    ),
    Catch(
        mutations.let_aiohttp_send_twice,
        "streams:users.delete",
        "reset_after",
        False,
        "sent 3 times, not 2",
    ),
    Catch(
        mutations.take_silence_for_success,
        "computers:machines.start",
        "reset_before",
        False,
        "reported as done, and was not",
    ),
    Catch(
        mutations.forget_that_an_answer_was_lost,
        "computers:machines.create",
        "reset_before",
        False,
        "outcome_unknown=False",
    ),
    Catch(
        mutations.forget_that_an_answer_was_lost,
        "desktops:desktop.create",
        "html_502_after",
        False,
        "outcome_unknown=False",
    ),
    Catch(
        mutations.forget_that_an_answer_was_lost,
        "streams:users.delete",
        "reset_after",
        False,
        "does not say that an earlier",
    ),
]


def shorten_deadline(patch: pytest.MonkeyPatch) -> None:
    """Shorten the deadline: a client that has lost its only slot waits until then."""
    patch.setattr(matrix, "DEADLINE", 0.5)


@pytest.mark.parametrize("catch", CATCHES, ids=str)
async def test_a_mutated_client_does_not_pass_the_matrix(
    catch: Catch, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix.require(await matrix.run([catch.cell]))
    with monkeypatch.context() as patch:
        catch.mutation(patch)
        if catch.mutation is mutations.keep_a_slot_on_error:
            shorten_deadline(patch)
        (verdict,) = await matrix.run([catch.cell])
    assert any(re.search(catch.said, flaw) for flaw in verdict.flaws), verdict.flaws
    with pytest.raises(FailedError, match=re.escape(str(catch.cell))):
        matrix.require([verdict])


@pytest.mark.parametrize(
    "endpoint", ["computers:machines.create", "streamspace:vnc_viewer", "desktops:desktop.get"]
)
@pytest.mark.parametrize("moment", [Moment.ANSWER, Moment.QUEUE])
async def test_a_client_that_keeps_a_slot_on_cancel_does_not_pass_the_cancellations(
    endpoint: str, moment: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Cancelled(ENDPOINTS[endpoint], moment)
    await cancelled.check([case])
    with monkeypatch.context() as patch:
        mutations.keep_a_slot_on_cancel(patch)
        shorten_deadline(patch)
        with pytest.raises(FailedError, match="0 slots are free, not 1"):
            await cancelled.check([case])


@pytest.mark.parametrize(
    ("mutation", "said"),
    [
        (
            mutations.retry_a_post_on_reset,
            "exists 2 times|exist; [0-9]+ calls said that it was done",
        ),
        (
            mutations.drop_the_nonce_renewal,
            "done [0-9]+ times by the recorded calls, and 0 exist",
        ),
    ],
)
async def test_a_mutated_client_does_not_pass_the_storm(
    mutation: mutations.Mutation, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        mutation(patch)
        with pytest.raises(LostError, match=said):
            await check_storm(400, 200, measured=False)
