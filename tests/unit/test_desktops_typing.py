"""Typed texts arrive unchanged, no part of them runs, and no error contains them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.desktops_service import StubDesktop, command, entered
from tests.unit.desktops_wired import ID, SECRET, Wired, answering, client, response
from vcloud import (
    APIKeyAuth,
    ConflictError,
    Endpoint,
    InvalidArgumentError,
    RequestTimeout,
    Response,
    ServerError,
    TransportError,
    VCloudError,
)
from vcloud._core.call.sources import Sources
from vcloud._core.client import client_with
from vcloud.providers.desktops import (
    ActionsFailed,
    Desktops,
    MoveMouse,
    TypeText,
    from_json,
)
from vcloud.providers.desktops.requests import action_requests

OK = response({"output": ""})

#: The characters that are most likely to cause errors, and all others.
CHARACTERS = st.sampled_from(
    "'\"`$\\-!;&|<>(){}[]*?~#%=+ \t\n\r\u2028éÉ€日😀\ufeff"
) | st.characters(exclude_categories=["Cs", "Cc"])
WORDS = st.sampled_from(
    [
        "'; touch owned; echo '",
        "--help",
        "-x",
        "$(touch owned)",
        "`touch owned`",
        "''",
        "\r\n",
        "don't",
        "a" * 251,
    ]
)
TEXTS = st.lists(CHARACTERS | WORDS, min_size=1).map("".join)

HARD = [
    "x'; touch owned; echo 'y",
    "it's",
    "''",
    "'",
    "--help",
    "-",
    "---",
    "'-x",
    "a'--help",
    "-'-'-",
    "É-x",
    "a\n-b\r\n--c\r-",
    "   ",
    "a" * 250 + "-" + "b" * 250 + "--c",
    "\\' \\\\ \\n %s ${HOME} $HOME !! *",
    "\n\n",
    *(
        "../../admin",
        "a\r\nX-Injected: 1",
        "%2f%",
        "; # &",
        "{id}",
        "\u202eabc\uff0f",
        '"',
        "9" * 5000,
    ),
    "Äpfel, Übung und ÉCOLE, \xd7 und ÷",
]


def lines(text: str) -> str:
    return re.sub("\r\n?", "\n", text)


def bodies(text: str, timeout: float = 45) -> list[dict[str, Any]]:
    return [request.body for request in action_requests(TypeText(text), timeout=timeout)]


@given(TEXTS)
def test_no_piece_can_run_as_a_command(text: str) -> None:
    requests = list(action_requests(TypeText(text), timeout=45))
    assert sum(request.characters for request in requests) == len(text)
    for request in requests:
        typed = request.body.get("text")
        if typed is None:
            assert re.fullmatch(
                "apostrophe|minus|Return|shift\\+U00[EF][0-9A-F]", request.body["keys"]
            )
        else:
            assert 1 <= len(typed) <= 250
            assert not typed.startswith("-")
            assert not set(typed) & set("'\r\n")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> StubDesktop:
    return StubDesktop.at(tmp_path_factory.mktemp("desktop"))


def type_on(stub: StubDesktop, text: str) -> str:
    for body in bodies(text):
        assert stub.run(command("/computer-action", body)) == (0, b"", b"")
    assert stub.left_behind() == []
    return entered(stub.recorded())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS)
def test_the_text_reaches_the_keyboard_through_the_shell_of_the_service(
    stub: StubDesktop, text: str
) -> None:
    assert type_on(stub, text) == lines(text)


@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_a_difficult_text_reaches_the_keyboard_through_the_shell_of_the_service(
    stub: StubDesktop, text: str
) -> None:
    assert type_on(stub, text) == lines(text)


def test_the_shell_of_the_service_would_run_an_unsplit_text(tmp_path: Path) -> None:
    # This shows that the tests above would notice it.
    stub = StubDesktop.at(tmp_path)
    stub.run(command("/computer-action", {"type": "type", "text": "x'; : > owned; echo 'y"}))
    assert stub.left_behind() == ["owned"]


async def test_one_call_may_be_several_requests() -> None:
    desktops, wired = answering(OK)
    await desktops.ref(ID).type("--it's\r\nÜ")
    press = [
        ("press_keys", keys) for keys in ("minus", "minus", "apostrophe", "Return", "shift+U00FC")
    ]
    sent = [(body["type"], body.get("text") or body["keys"]) for _, _, body in wired.asked]
    assert sent == [*press[:2], ("type", "it"), press[2], ("type", "s"), *press[3:]]
    assert {path for _, path, _ in wired.asked} == {f"/desktop/{ID}/computer-action"}


@pytest.mark.parametrize("way", ["type", "perform", "perform_all", "recorded"])
async def test_a_text_is_typed_the_same_by_every_method(way: str) -> None:
    desktops, wired = answering(OK)
    desktop, text = desktops.ref(ID), "-it's" + "x" * 300 + "\n"
    match way:
        case "type":
            await desktop.type(text)
        case "perform":
            await desktop.perform(TypeText(text))
        case "perform_all":
            await desktop.perform_all([TypeText(text)])
        case _:
            await desktop.perform(from_json({"type": "type", "text": text}))
    assert [body for _, _, body in wired.asked] == bodies(text)


CONTROLS = [chr(code) for code in [*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0)]]


@pytest.mark.parametrize("character", [*CONTROLS, *map(chr, (0xD800, 0xDFFF))], ids=ascii)
async def test_a_character_without_a_key_is_refused_without_showing_the_text(
    character: str,
) -> None:
    desktops, wired = answering(OK)
    for call in (
        lambda: desktops.ref(ID).type(f"{SECRET}{character}"),
        lambda: desktops.ref(ID).perform(
            from_json({"type": "type", "text": f"{character}{SECRET}"})
        ),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            await call()
        assert SECRET not in str(caught.value)
    assert wired.asked == []


async def test_tabs_and_line_separators_are_typed_as_they_are() -> None:
    desktops, wired = answering(OK)
    await desktops.ref(ID).type("a\tb\u2028c\u2029d\u00a0")
    assert [body["text"] for _, _, body in wired.asked] == ["a\tb\u2028c\u2029d\u00a0"]


# When a piece fails.

NOT_RUNNING = response(
    {
        "status": "error",
        "error": "Instance is not running (status: terminated). Cannot perform action.",
        "docs": "d",
    },
    409,
)


@pytest.mark.parametrize(
    ("answers", "typed", "unknown", "kind"),
    [
        ([NOT_RUNNING], 0, False, ConflictError),
        ([OK, NOT_RUNNING], 9, True, ConflictError),
        ([OK, OK, NOT_RUNNING], 10, True, ConflictError),
        ([OK, OK, OK, TransportError("gone")], 15, True, TransportError),
        ([TransportError("gone")], 0, True, TransportError),
        (
            [
                response(
                    {"status": "error", "error": "x Command failed with code 2", "docs": "d"}, 500
                )
            ],
            0,
            False,
            ServerError,
        ),
    ],
    ids=range(6),
)
async def test_an_error_has_the_number_of_confirmed_characters(
    answers: list[Response | Exception], typed: int, unknown: bool, kind: type[VCloudError]
) -> None:
    text = "my secret'hello\nworld"
    desktops, wired = answering(*answers)
    with pytest.raises(kind) as caught:
        await desktops.ref(ID).type(text)
    error = caught.value
    assert (error.typed, error.outcome_unknown) == (typed, unknown)
    assert f"{typed} of 21 characters were typed" in str(error)
    assert "secret" not in f"{error!r} {error} {error.__dict__}"
    assert len(wired.asked) == len(answers), "nothing is sent after a piece that failed"


async def test_the_failed_one_of_several_actions_has_the_number_of_typed_characters() -> None:
    desktops, _ = answering(OK, OK, NOT_RUNNING)
    with pytest.raises(ActionsFailed, match="2 of 4 characters were typed") as caught:
        await desktops.ref(ID).perform_all([MoveMouse(1, 2), TypeText("ab'c")])
    assert (caught.value.index, caught.value.error.typed) == (1, 2)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("text", [f"{SECRET}'x", "ab'cd", "Ünder"])
async def test_a_text_that_the_service_repeats_is_in_no_error(text: str) -> None:
    async def reply(method: str, path: str) -> Response:
        body = wired.asked[-1][2]
        said = f"Failed to perform type: {command(path, body)} (Command failed with code 2)"
        return response({"status": "error", "error": said, "docs": "d"}, 500)

    wired = Wired(reply)
    with pytest.raises(ServerError, match="not shown") as caught:
        await client(wired).ref(ID).type(text)
    assert caught.value.details == {"docs": "d", "exit_code": 2}


@pytest.mark.parametrize(
    "text", ["running", "is", "e", "Instance is not", "Cannot perform action. terminated"]
)
@pytest.mark.parametrize("way", ["type", "bash"])
async def test_words_of_the_service_itself_are_not_hidden(text: str, way: str) -> None:
    desktops, _ = answering(NOT_RUNNING)
    with pytest.raises(ConflictError) as caught:
        await getattr(desktops.ref(ID), way)(text)
    assert "not running (status: terminated)" in str(caught.value)


async def test_a_harmless_word_in_another_error_message_is_not_hidden() -> None:
    desktops, _ = answering(
        response({"status": "error", "error": "The desktop stopped running", "docs": "d"}, 409)
    )
    with pytest.raises(ConflictError, match="The desktop stopped running"):
        await desktops.ref(ID).bash("echo running")


# Time.


class Clocked(Wired):
    """Answers after some seconds of a fake clock, and keeps the timeout of each attempt."""

    now: float = 0.0
    takes: float = 0.0

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.timeouts: list[float] = []

    async def answer(self, method: str, path: str) -> Response:
        self.now += self.takes
        return response({"status": "success", "output": ""})

    async def exchange(self, *call: Any) -> Response:
        self.timeouts.append(call[-1].attempt_timeouts.seconds)
        return await super().exchange(*call)


def clocked(monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Desktops, Clocked]:
    wired = Clocked()
    monkeypatch.setattr("vcloud._core.session.SYSTEM", Sources(clock=lambda: wired.now))
    desktops = client_with(
        Desktops, Endpoint(auth=APIKeyAuth("ck_test_1"), **options), transport=wired
    )
    return desktops, wired


async def test_all_pieces_of_a_text_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    desktops, wired = clocked(monkeypatch, deadline=20)
    wired.takes = 8
    with pytest.raises(RequestTimeout, match="deadline of 20 s passed") as caught:
        await desktops.ref(ID).type("x" * 2000)
    assert wired.timeouts == [20, 12, 4]
    assert (caught.value.typed, caught.value.outcome_unknown) == (750, True)


async def test_a_long_wait_is_sent_in_pieces_that_the_gateway_does_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desktops, wired = clocked(monkeypatch)
    await desktops.ref(ID).wait(60.001)
    await desktops.ref(ID).perform(from_json({"type": "wait", "ms": 25_000}))
    assert [body["ms"] for _, _, body in wired.asked] == [25_000, 25_000, 10_001, 25_000]


async def test_actions_and_commands_wait_longer_than_the_gateway_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def seen(desktops: Desktops) -> list[float]:
        wired.timeouts.clear()
        desktop = desktops.ref(ID)
        await desktop.move(1, 2)
        await desktop.bash("true")
        await desktop.key_up("shift")
        return list(wired.timeouts)

    desktops, wired = clocked(monkeypatch)
    assert await seen(desktops) == [45, 45, 45]
    assert await seen(desktops.with_options(deadline=60)) == [45, 45, 45]
    assert await seen(desktops.with_options(timeout=30)) == [30, 30, 30]
    desktops, wired = clocked(monkeypatch, timeout=30)
    assert await seen(desktops) == [30, 30, 30]


async def test_other_calls_have_the_usual_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    desktops, wired = clocked(monkeypatch)

    async def stopped(method: str, path: str) -> Response:
        return response({"status": "terminated"})

    wired.reply = stopped
    await desktops.ref(ID).stop()
    assert wired.timeouts == [30]


async def test_no_piece_takes_longer_than_a_short_attempt_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desktops, wired = clocked(monkeypatch, timeout=2)
    await desktops.ref(ID).type("x" * 100)
    await desktops.ref(ID).wait(3)
    assert [len(body["text"]) for _, _, body in wired.asked[:2]] == [50, 50]
    assert [body["ms"] for _, _, body in wired.asked[2:]] == [1600, 1400]


# Held keys.


async def test_keys_are_held_and_released_by_a_command(
    tmp_path: Path,
) -> None:
    stub, (desktops, wired) = (
        StubDesktop.at(tmp_path),
        answering(response({"status": "success", "output": ""})),
    )
    desktop = desktops.ref(ID)
    await desktop.key_down("Ctrl", "SHIFT")
    await desktop.key_up("ctrl+shift")
    await desktop.perform(from_json({"type": "press_keys", "keys": "/", "key_action_type": "down"}))
    assert [(path, body) for _, path, body in wired.asked] == [
        (f"/desktop/{ID}/bash-action", {"command": f"DISPLAY=:99 xdotool {call}"})
        for call in ("keydown ctrl+shift", "keyup ctrl+shift", "keydown slash")
    ]
    for _, path, body in wired.asked:
        assert stub.run(command(path, body)) == (0, b"", b"")
    assert stub.recorded()[0] == ["keydown", "ctrl+shift"]


async def test_a_recorded_key_action_is_completed_by_a_command() -> None:
    desktops, wired = answering(response({"status": "success", "output": ""}))
    for kind in ("down", "up"):
        recorded = {"type": "press_keys", "keys": ["Shift"], "key_action_type": kind}
        await desktops.ref(ID).perform(from_json(recorded))
    # The action alone would leave Shift pressed.
    assert [body for _, _, body in wired.asked] == [
        {"type": "press_keys", "keys": ["shift"], "key_action_type": "down"},
        {"type": "press_keys", "keys": ["shift"], "key_action_type": "up"},
        {"command": "DISPLAY=:99 xdotool keyup shift"},
    ]


@pytest.mark.parametrize(
    "said",
    [
        "Error: Can't open display: :99\nFailed creating new xdo instance",
        "bash: line 1: xdotool: command not found",
        "/bin/bash: line 1: xdotool: command not found",
        "/bin/sh: 1: xdotool: not found",
        "sh: 1: xdotool: not found",
        "dash: 1: xdotool: not found",
    ],
)
async def test_a_key_that_could_not_be_held_is_an_error_although_the_service_reports_success(
    said: str,
) -> None:
    desktops, _ = answering(response({"status": "success", "output": said}))
    with pytest.raises(ServerError, match=re.escape(said.splitlines()[0])) as caught:
        await desktops.ref(ID).key_down("shift")
    assert not caught.value.outcome_unknown
    desktops, _ = answering(
        response({"status": "success", "output": "bash: warning: setlocale: no"})
    )
    await desktops.ref(ID).key_down("shift")


# The outcome of a failed action.


@pytest.mark.parametrize(
    ("status", "error", "id", "unknown"),
    [
        (502, "Gateway timeout", ID, True),
        (504, "upstream", ID, True),
        (500, "broke", ID, True),
        (200, "broke", ID, True),
        (500, "x Command failed with code 1", ID, False),
        (500, "An unexpected internal server error occurred.", "desktop_1", False),
        (409, "Instance is not running (status: pending). Cannot perform action.", ID, False),
        (404, "Desktop instance not found or user not authorized.", ID, False),
        (400, "no", ID, False),
    ],
)
@pytest.mark.parametrize("way", ["move", "bash"])
async def test_an_error_says_whether_the_action_may_have_been_done(
    status: int, error: str, id: str, unknown: bool, way: str
) -> None:
    desktops, _ = answering(response({"status": "error", "error": error, "docs": "d"}, status))
    with pytest.raises(VCloudError) as caught:
        await (desktops.ref(id).move(1, 2) if way == "move" else desktops.ref(id).bash("true"))
    assert caught.value.outcome_unknown is unknown


def test_a_text_of_two_thousand_characters_is_recorded_as_one_action() -> None:
    text = "it's\n" * 400
    assert from_json(json.loads(json.dumps({"type": "type", "text": text}))) == TypeText(text)
