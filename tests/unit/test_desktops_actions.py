"""Actions as data: recorded, replayed, and performed one after the other."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.desktops_wired import ID, SECRET, answering, response
from vcloud import (
    InvalidArgumentError,
    ServerError,
)
from vcloud.providers.desktops import (
    Action,
    ActionsFailed,
    ClickMouse,
    DragMouse,
    GetCursorPosition,
    MoveMouse,
    PressKeys,
    Scroll,
    TakeScreenshot,
    TypeText,
    Wait,
    from_json,
    to_json,
)

COORDINATE = st.integers(0, 10_000)
POINTS = st.tuples(COORDINATE, COORDINATE)
KEY = st.sampled_from(
    ["ENTER", "ctrl+S", "ctrl++", "+", "/", "é", "É", "shift+É", "Page_Up", "U20AC", "a"]
)
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t'-"), min_size=1
)
CLICKS = st.builds(
    lambda place, rest: ClickMouse(x=place[0], y=place[1], **rest),
    st.one_of(POINTS, st.just((None, None))),
    st.fixed_dictionaries(
        {},
        optional={
            "button": st.sampled_from(["left", "right", "middle"]),
            "count": st.integers(1, 250),
            "click_type": st.sampled_from(["click", "down", "up"]),
        },
    ),
)
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    CLICKS,
    st.builds(
        Scroll,
        direction=st.sampled_from(["up", "down", "left", "right"]),
        amount=st.integers(1, 500),
    ),
    st.builds(MoveMouse, COORDINATE, COORDINATE),
    st.builds(DragMouse, POINTS, POINTS),
    st.builds(TypeText, TEXT),
    st.builds(
        PressKeys,
        st.one_of(KEY, st.lists(KEY, min_size=1)),
        key_action_type=st.sampled_from([None, "press", "down", "up"]),
    ),
    st.builds(Wait, st.integers(0, 10**9).map(lambda ms: timedelta(milliseconds=ms))),
    st.just(TakeScreenshot()),
    st.just(GetCursorPosition()),
)


@given(ACTIONS)
def test_an_action_survives_json(action: Action) -> None:
    recorded = json.dumps(to_json(action))
    replayed = from_json(json.loads(recorded))
    assert replayed == action
    assert type(replayed) is type(action)
    assert to_json(replayed) == json.loads(recorded)
    assert pickle.loads(pickle.dumps(action)) == copy.copy(action) == action
    assert hash(replayed) == hash(action)


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ({}, r"recorded\['type'\] must be one of click_mouse"),
        ({"type": "dance"}, "not 'dance'"),
        ({"type": ["screenshot"]}, r"recorded\['type'\] must be one of"),
        ("screenshot", "recorded must be a JSON object, not str"),
        ({"type": "move_mouse", "x": 1}, "move_mouse needs the field y"),
        ({"type": "move_mouse", "x": 1, "y": "2"}, "y must be a whole number"),
        ({"type": "move_mouse", "x": 1, "y": 2, "z": 3}, "move_mouse has no field z"),
        ({"type": "click_mouse", "x": 1}, "x and y must be given together"),
        ({"type": "click_mouse", "num_clicks": 2}, "click_mouse has no field num_clicks"),
        ({"type": "click_mouse", "button": 1}, "button must be one of left, right, middle"),
        (
            {"type": "drag_mouse", "start": {"x": 1}, "end": {"x": 1, "y": 1}},
            "start must be two whole numbers",
        ),
        (
            {"type": "drag_mouse", "start": {"x": 1, "y": 1}, "end": None},
            "end must be two whole numbers",
        ),
        (
            {"type": "scroll", "direction": "up", "amount": 501},
            "amount must be a whole number, 1 to 500",
        ),
        ({"type": "type"}, "type needs the field text"),
        ({"type": "type", "text": 5}, "text must be a string, not int"),
        ({"type": "press_keys", "keys": []}, "keys must be the name of a key"),
        ({"type": "press_keys", "keys": {"a": 1}}, "keys must be the name of a key"),
        ({"type": "press_keys", "keys": ["ctrl", 5]}, "key 2 of 2 must be a string, not int"),
        ({"type": "press_keys", "keys": "Retrun"}, "the nearest are return"),
        ({"type": "type", "text": "a\x00b"}, "control character"),
        ({"type": "click_mouse", "num_of_clicks": 0}, "num_of_clicks must be .* 1 to 250, not 0"),
        ({"type": "wait", "ms": -1}, "ms must be a whole number"),
        ({"type": "wait", "ms": 10**30}, "ms must be a whole number"),
        ({"type": "wait", "ms": 0.5}, "ms must be a whole number"),
        ({"type": "wait", "duration": 1}, "wait has no field duration|wait needs the field ms"),
        ({"type": "screenshot", "format": "png"}, "screenshot has no field format"),
    ],
)
def test_an_invalid_recording_is_refused_with_the_reason(recorded: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        from_json(recorded)


def test_the_wheel_is_turned_with_the_same_words_as_on_a_desktop() -> None:
    assert Scroll("down", 3) == Scroll(direction="down", amount=3)
    assert to_json(Scroll("left", 1)) == {"type": "scroll", "direction": "left", "amount": 1}


def test_clicks_are_counted_with_the_same_word_as_on_a_desktop() -> None:
    assert to_json(ClickMouse(count=2)) == {"type": "click_mouse", "num_of_clicks": 2}
    assert to_json(ClickMouse()) == {"type": "click_mouse"}
    assert from_json({"type": "click_mouse", "num_of_clicks": None}).count is None  # type: ignore[union-attr]
    assert ClickMouse(count=0, click_type="up").count == 0, "the service ignores it"


@pytest.mark.parametrize("count", [0, -1, 251, True, "2", 1.0])
async def test_a_wrong_number_of_clicks_is_named_as_the_argument_is(count: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^count must be a whole number, 1 to 250, not"):
        ClickMouse(count=count)
    desktops, wired = answering(response({}))
    with pytest.raises(InvalidArgumentError, match=r"^count must be a whole number, 1 to 250, not"):
        await desktops.ref(ID).click(count=count)
    assert not wired.asked
    with pytest.raises(InvalidArgumentError, match=r"^num_of_clicks must be a whole number"):
        from_json({"type": "click_mouse", "num_of_clicks": count, "click_type": None})


def test_a_typed_text_is_not_in_the_repr() -> None:
    assert SECRET not in repr(TypeText(SECRET))
    assert SECRET not in repr([TypeText(SECRET)])


async def test_several_actions_stop_at_the_first_failure_and_name_it() -> None:
    refusal = response(
        {"status": "error", "error": "… Command failed with code 3", "docs": "d"}, 500
    )
    desktops, wired = answering(response({"output": "one"}), refusal)
    with pytest.raises(ActionsFailed, match=r"action 1 of 3 \(move_mouse\) failed") as caught:
        await desktops.ref(ID).perform_all([Wait(1), MoveMouse(1, 2), TakeScreenshot()])
    error = caught.value
    assert (error.index, [result.output for result in error.results]) == (1, ["one"])
    assert isinstance(error.error, ServerError)
    assert error.__cause__ is error.error
    assert error.error.details == {"docs": "d", "exit_code": 3}
    assert len(wired.asked) == 2
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.index, copied.results, str(copied), str(copied.error)) == (
        1,
        error.results,
        str(error),
        str(error.error),
    )
