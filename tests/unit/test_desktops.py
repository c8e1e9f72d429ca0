"""The desktop client without a socket: arguments, decoding, and the stream URL."""

from __future__ import annotations

import base64
import inspect
import json
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vcloud.providers.desktops as package
from tests.unit.desktops_wired import DESKTOP, ID, JPEG, SECRET, STREAM, answering, response
from tests.unit.fields import fields
from vcloud import (
    Controllable,
    DecodeError,
    InvalidArgumentError,
    Response,
)
from vcloud._core.codec import Codec
from vcloud.providers.desktops import (
    Desktop,
    Desktops,
    DesktopStatus,
    MouseButton,
    NoStreamError,
    Point,
    TakeScreenshot,
    from_json,
    parse_cursor_position,
)
from vcloud.providers.desktops.models import ActionAnswer, BashAnswer, BashStatus, read_screenshot

REFUSED: dict[str, Callable[[Desktops], Any]] = {
    "x without y": lambda c: c.ref(ID).click(500),
    "y without x": lambda c: c.ref(ID).click(y=500),
    "a negative coordinate": lambda c: c.ref(ID).click(-1, 5),
    "a coordinate that is not a whole number": lambda c: c.ref(ID).move(1.5, 5),  # type: ignore[arg-type]
    "a coordinate that is a boolean": lambda c: c.ref(ID).move(True, 5),
    "a move to nowhere": lambda c: c.ref(ID).move(None, None),  # type: ignore[arg-type]
    "a click count below 0": lambda c: c.ref(ID).click(1, 1, count=-1),
    "no click": lambda c: c.ref(ID).click(1, 1, count=0),
    "no click, recorded": lambda c: c.ref(ID).perform(
        from_json({"type": "click_mouse", "num_of_clicks": 0, "click_type": "click"})
    ),
    "more clicks than the service has time for": lambda c: c.ref(ID).click(1, 1, count=251),
    "a negative coordinate, recorded": lambda c: c.ref(ID).perform(
        from_json({"type": "drag_mouse", "start": {"x": 0, "y": -1}, "end": {"x": 1, "y": 1}})
    ),
    "a button that no mouse has": lambda c: c.ref(ID).click(1, 1, button="thumb"),
    "no wheel clicks": lambda c: c.ref(ID).scroll("down", 0),
    "501 wheel clicks": lambda c: c.ref(ID).scroll("down", 501),
    "a direction out of the screen": lambda c: c.ref(ID).scroll("inwards", 1),
    "a drag from a negative place": lambda c: c.ref(ID).drag((-1, 0), (5, 5)),
    "a drag to half a place": lambda c: c.ref(ID).drag((0, 0), (5,)),  # type: ignore[arg-type]
    "a drag to a text": lambda c: c.ref(ID).drag((0, 0), "55"),  # type: ignore[arg-type]
    "an empty text": lambda c: c.ref(ID).type(""),
    "a text that is not a string": lambda c: c.ref(ID).type(None),  # type: ignore[arg-type]
    "a text that is not unicode": lambda c: c.ref(ID).type("\ud800"),
    "no key": lambda c: c.ref(ID).press(),
    "an empty key": lambda c: c.ref(ID).press(""),
    "a key name with a semicolon": lambda c: c.ref(ID).press("Return;reboot"),
    "a key name with a command": lambda c: c.ref(ID).press("$(reboot)"),
    "a key name with a space": lambda c: c.ref(ID).key_down("ctrl c"),
    "a key name with a line break": lambda c: c.ref(ID).key_up("a\n"),
    "a key name that is an option": lambda c: c.ref(ID).press("--help"),
    "one bad key among good ones": lambda c: c.ref(ID).press("ctrl", "`id`"),
    "a key name that is none": lambda c: c.ref(ID).press("Retrun"),
    "a key code": lambda c: c.ref(ID).press("36"),
    "a chord with nothing in it": lambda c: c.ref(ID).press("ctrl+"),
    "several keys of which one is empty": lambda c: c.ref(ID).key_down("ctrl", ""),
    "a wait backwards": lambda c: c.ref(ID).wait(-1),
    "a wait of half a millisecond": lambda c: c.ref(ID).wait(0.0005),
    "a wait for not a number": lambda c: c.ref(ID).wait(float("nan")),
    "a wait forever": lambda c: c.ref(ID).wait(float("inf")),
    "an empty command": lambda c: c.ref(ID).bash(""),
    "a command with a NUL": lambda c: c.ref(ID).bash("echo a\0b"),
    "a lifetime below a minute": lambda c: c.launch(59.999),
    "a lifetime that is a text": lambda c: c.launch("1h"),  # type: ignore[call-overload]
    "a poll interval of nothing": lambda c: c.launch(poll=0),
    "an empty id": lambda c: c.get(""),
    "an id that climbs": lambda c: c.ref(".."),
    "something that is not an action": lambda c: c.ref(ID).perform({"type": "screenshot"}),  # type: ignore[arg-type]
    "one among several that is no action": lambda c: c.ref(ID).perform_all(
        [TakeScreenshot(), None]  # type: ignore[list-item]
    ),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
async def test_invalid_arguments_are_refused_before_anything_is_sent(
    call: Callable[[Desktops], Any],
) -> None:
    desktops, wired = answering(response({"output": ""}))

    async def attempt() -> None:
        made = call(desktops)
        if inspect.isawaitable(made):
            await made

    with pytest.raises(InvalidArgumentError):
        await attempt()
    assert wired.asked == []


async def test_the_error_of_a_refused_text_or_key_does_not_contain_it() -> None:
    desktops, _ = answering(response({}))
    for call in (desktops.ref(ID).press(f"{SECRET}!"), desktops.ref(ID).type(f"{SECRET}\udfff")):
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        assert SECRET not in str(caught.value)


SENT: list[tuple[Callable[[Desktops], Awaitable[object]], dict[str, Any]]] = [
    (lambda c: c.ref(ID).click(), {"type": "click_mouse", "button": "left", "num_of_clicks": 1}),
    (
        lambda c: c.ref(ID).click(5, 6, button="middle", count=3),
        {"type": "click_mouse", "x": 5, "y": 6, "button": "middle", "num_of_clicks": 3},
    ),
    (
        lambda c: c.ref(ID).click(5, 6, "right"),
        {"type": "click_mouse", "x": 5, "y": 6, "button": "right", "num_of_clicks": 1},
    ),
    (
        lambda c: c.ref(ID).double_click(5, 0),
        {"type": "click_mouse", "x": 5, "y": 0, "button": "left", "num_of_clicks": 2},
    ),
    (
        lambda c: c.ref(ID).right_click(),
        {"type": "click_mouse", "button": "right", "num_of_clicks": 1},
    ),
    (
        lambda c: c.ref(ID).mouse_down(1, 2),
        {"type": "click_mouse", "x": 1, "y": 2, "button": "left", "click_type": "down"},
    ),
    (
        lambda c: c.ref(ID).mouse_up(button=MouseButton.RIGHT),
        {"type": "click_mouse", "button": "right", "click_type": "up"},
    ),
    (
        lambda c: c.ref(ID).scroll("down", 500),
        {"type": "scroll", "direction": "down", "amount": 500},
    ),
    (lambda c: c.ref(ID).move(*Point(7, 8)), {"type": "move_mouse", "x": 7, "y": 8}),
    (
        lambda c: c.ref(ID).drag((1, 2), Point(3, 4)),
        {"type": "drag_mouse", "start": {"x": 1, "y": 2}, "end": {"x": 3, "y": 4}},
    ),
    (lambda c: c.ref(ID).type("Grüße"), {"type": "type", "text": "Grüße"}),
    (lambda c: c.ref(ID).press("ctrl+c"), {"type": "press_keys", "keys": "ctrl+c"}),
    (lambda c: c.ref(ID).press("ctrl", "c"), {"type": "press_keys", "keys": ["ctrl", "c"]}),
    (lambda c: c.ref(ID).press("Ctrl+S"), {"type": "press_keys", "keys": "ctrl+s"}),
    (lambda c: c.ref(ID).press("ENTER"), {"type": "press_keys", "keys": "Return"}),
    (
        lambda c: c.ref(ID).click(count=250),
        {"type": "click_mouse", "button": "left", "num_of_clicks": 250},
    ),
    (lambda c: c.ref(ID).wait(25), {"type": "wait", "ms": 25000}),
    (lambda c: c.ref(ID).wait(timedelta(0)), {"type": "wait", "ms": 0}),
]


@pytest.mark.parametrize(("call", "body"), SENT, ids=[str(body) for _, body in SENT])
async def test_each_method_sends_its_action(
    call: Callable[[Desktops], Awaitable[object]], body: dict[str, Any]
) -> None:
    desktops, wired = answering(response({"output": ""}))
    assert await call(desktops) is None
    assert wired.asked == [("POST", f"/desktop/{ID}/computer-action", body)]


async def test_a_lifetime_is_sent_in_milliseconds_or_left_out() -> None:
    desktops, wired = answering(response({"id": ID, "status": "pending"}))
    for lifetime in (None, 60, timedelta(hours=1), 61.5):
        assert (await desktops.launch(lifetime)).status is DesktopStatus.PENDING
    assert [body for _, _, body in wired.asked] == [
        {},
        {"timeout_ms": 60000},
        {"timeout_ms": 3600000},
        {"timeout_ms": 61500},
    ]


# Decoding.

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC).isoformat()
)


@given(
    st.fixed_dictionaries(
        {
            "id": st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            "status": st.sampled_from([*DesktopStatus, "hibernating"]),
            "created_at": MOMENTS,
            "timeout_at": MOMENTS,
            "stream_url": st.none() | st.just(STREAM),
        },
        optional={"new_field": st.integers()},
    )
)
def test_a_desktop_decodes_to_the_same_both_ways(answer: dict[str, Any]) -> None:
    body, codec = json.dumps(answer).encode(), Codec()
    desktop = codec.decode_fast(body, Desktop)
    assert desktop == codec.decode_leniently(body, Desktop)
    assert (desktop.id, str(desktop.status), desktop.stream_url) == (
        answer["id"],
        answer["status"],
        answer["stream_url"],
    )
    assert desktop.created_at == datetime.fromisoformat(answer["created_at"])
    assert desktop.status.known is (answer["status"] != "hibernating")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none() | st.text(st.characters(exclude_categories=["Cs"]))
            for name in ("output", "error", "base64_image")
        },
    )
)
def test_an_actions_answer_decodes_to_the_same_both_ways(answer: dict[str, Any]) -> None:
    body, codec = json.dumps(answer).encode(), Codec()
    fast, lenient = (
        codec.decode_fast(body, ActionAnswer),
        codec.decode_leniently(body, ActionAnswer),
    )
    assert fields(fast) == fields(lenient) == fields(ActionAnswer(**answer))


def test_a_commands_answer_decodes_to_the_same_both_ways() -> None:
    body, codec = b'{"status":"success","output":"x"}', Codec()
    fast, lenient = codec.decode_fast(body, BashAnswer), codec.decode_leniently(body, BashAnswer)
    assert (
        fields(fast) == fields(lenient) == fields(BashAnswer(status=BashStatus.SUCCESS, output="x"))
    )


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"GIF89a", "application/octet-stream"),
    ],
)
async def test_the_media_type_of_a_screenshot_is_recognised_and_save_writes_it(
    data: bytes, media_type: str, tmp_path: Path
) -> None:
    desktops, _ = answering(response({"base64_image": base64.b64encode(data).decode()}))
    shot = await desktops.ref(ID).screenshot()
    assert (shot.data, shot.media_type) == (data, media_type)
    assert shot.save(tmp_path / "shot").read_bytes() == data
    assert "JFIF" not in repr(shot)


@pytest.mark.parametrize("image", ["", "not base64", "/9j", "/9j/4AAQSkZJRg==x", "Grüße"])
def test_an_image_that_is_not_base64_is_a_decode_error(image: str) -> None:
    with pytest.raises(DecodeError, match="the screenshot is"):
        read_screenshot(image)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (response({"output": ""}), "has no image"),
        (response({"base64_image": "%%%"}), "not base64"),
        (response({"base64_image": [1]}), "is not what the contract says"),
        (response(b"<html>"), "not JSON"),
        (response(b"[]"), "is not what the contract says"),
    ],
)
async def test_a_malformed_screenshot_answer_is_a_decode_error(answer: Response, said: str) -> None:
    desktops, _ = answering(answer)
    with pytest.raises(DecodeError, match=said):
        await desktops.ref(ID).screenshot()


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("X=500\nY=300\nSCREEN=0\nWINDOW=123", (500, 300)),
        ("\n X=0\r\nY=0\r\n", (0, 0)),
        ("X=-5\nY=7", (-5, 7)),
    ],
)
def test_a_cursor_position_is_parsed(text: str, point: tuple[int, int]) -> None:
    assert parse_cursor_position(text) == point
    x, y = parse_cursor_position(text)
    assert (x, y) == point


@given(st.text())
def test_any_other_text_is_not_a_cursor_position(text: str) -> None:
    with pytest.raises(DecodeError, match="no cursor position in"):
        parse_cursor_position(f"x{text}")


# The stream URL, and public names.


def test_a_desktop_has_no_start_method() -> None:
    desktops, _ = answering()
    assert not hasattr(desktops.ref(ID), "start")
    assert isinstance(desktops.ref(ID), Controllable)


async def test_connect_url_returns_the_stream_url_or_raises() -> None:
    desktops, _ = answering(
        response(DESKTOP), response({**DESKTOP, "status": "pending", "stream_url": None})
    )
    assert await desktops.ref(ID).connect_url() == STREAM
    with pytest.raises(NoStreamError, match="has no stream") as caught:
        await desktops.ref(ID).connect_url()
    assert caught.value.status == "pending"
    assert "wait_until('running')" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).status == "pending"


@pytest.mark.parametrize("status", ["terminated", "error", "completed"])
async def test_the_error_of_a_desktop_that_ended_without_a_stream_suggests_no_wait(
    status: str,
) -> None:
    desktops, _ = answering(response({**DESKTOP, "status": status, "stream_url": None}))
    with pytest.raises(NoStreamError, match=r"never will: launch\(\)") as caught:
        await desktops.ref(ID).connect_url()
    assert "wait" not in str(caught.value)


def test_public_names_are_sorted_and_have_docstrings() -> None:
    assert package.__all__ == sorted(package.__all__)
    for name in package.__all__:
        thing = getattr(package, name)
        if name != "Action":
            assert inspect.getdoc(thing), name
        if inspect.isclass(thing) and thing.__module__.startswith("vcloud"):
            for member in vars(thing):
                if not member.startswith("_") and callable(getattr(thing, member, None)):
                    assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"
