"""What a message offers instead of a name that does not exist."""

import inspect
import pickle
import traceback

import pytest

from vcloud import ConfigurationError
from vcloud._core.suggestions import did_you_mean, nearest
from vcloud._core.wrong_arguments import (
    call_mistake,
    check_keywords,
    explained,
    explained_constructor,
    unknown_keyword,
)

OPTIONS = ("base_url", "auth", "timeout", "retry", "concurrency", "rate_limits", "ssl", "proxy")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("time_out", "timeout"),
        ("timeouts", "timeout"),
        ("baseUrl", "base_url"),
        ("BASE-URL", "base_url"),
        ("url", "base_url"),
        ("host", "base_url"),
        ("rate_limit", "rate_limits"),
        ("retries", "retry"),
        ("max_retries", "retry"),
        ("max_connections", "concurrency"),
        ("proxies", "proxy"),
        ("token", "auth"),
        ("tiemout", "timeout"),
        ("retyr", "retry"),
    ],
)
def test_the_name_that_was_meant_is_the_first_that_is_offered(wrong: str, meant: str) -> None:
    assert nearest(wrong, OPTIONS)[0] == meant
    assert did_you_mean(wrong, OPTIONS).startswith(f"did you mean {meant}")


@pytest.mark.parametrize(
    "wrong", ["colour", "x", "", "_", "\x1b[31m", "\U0001d518" * 5000, "s" * 100_000]
)
def test_what_is_like_no_name_is_offered_nothing(wrong: str) -> None:
    assert nearest(wrong, OPTIONS) == ()
    assert did_you_mean(wrong, OPTIONS) == ""


def test_at_most_three_names_are_offered() -> None:
    many = [f"image_{number}" for number in range(20)]
    assert did_you_mean("image", many) == "did you mean image_0, image_1 or image_2?"


def test_an_unknown_keyword_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_keywords("Endpoint", ["auth", "time_out"], OPTIONS)
    assert str(caught.value) == (
        "Endpoint has no argument 'time_out': did you mean timeout? Endpoint takes base_url, auth, "
        "timeout, retry, concurrency, rate_limits, ssl and proxy"
    )
    check_keywords("Endpoint", OPTIONS, OPTIONS)
    assert (
        unknown_keyword("stop", "now", ()) == "stop has no argument 'now': stop takes no arguments"
    )
    assert "\x1b" not in unknown_keyword("stop", "\x1b[31m", ())


class Door:
    """Something to construct."""

    def __init__(self, width: int, height: int = 2, *, colour: str = "red") -> None:
        self.area = width * height
        if colour == "none":
            raise TypeError("a colour of its own")


SIGNATURE = inspect.signature(Door)


@pytest.mark.parametrize(
    ("args", "names", "said"),
    [
        (
            (1, 2, "red"),
            (),
            "Door takes colour by name: write Door(width=..., height=..., c",
        ),
        (
            (1, 2),
            ("color",),
            "Door has no argument 'color': did you mean colour? Door takes width, ",
        ),
        ((), ("colour",), "Door needs width: write Door(width=..., colour=...)"),
        ((1,), ("width",), "Door got width by position and by name"),
        ((1, 2, 3, 4), (), "Door takes width, height and colour only: 4 were given by position"),
    ],
)
def test_the_message_for_a_call_says_what_to_write(
    args: tuple[object, ...], names: tuple[str, ...], said: str
) -> None:
    found = call_mistake(SIGNATURE, "Door", args, names)
    assert found is not None
    assert found.startswith(said)


def test_a_call_that_fits_has_no_mistake() -> None:
    assert call_mistake(SIGNATURE, "Door", (1,), ("colour",)) is None

    def anything(*args: object, **kwargs: object) -> None: ...

    assert call_mistake(inspect.signature(anything), "anything", (1, 2), ("x",)) is None


@explained_constructor("Window", error=TypeError)
class Window(Door):
    """A class whose constructor explains itself."""


@explained_constructor("Gate")
class Gate(Door):
    """The same, with the error of a configuration."""


def test_an_explained_constructor_names_wrong_arguments_and_keeps_its_signature() -> None:
    with pytest.raises(TypeError, match=r"Window has no argument 'color': did you mean colour\?"):
        Window(1, color="red")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="Gate needs width"):
        Gate()  # type: ignore[call-arg]
    assert inspect.signature(Window) == SIGNATURE
    assert Window(2, 3).area == 6
    assert pickle.loads(pickle.dumps(Window(2))).area == 4
    # What it raises itself stays, and the explanation stands alone.
    with pytest.raises(TypeError, match="a colour of its own"):
        Window(1, colour="none")
    with pytest.raises(TypeError) as caught:
        Window(1, 2, "secret-argument")  # type: ignore[call-arg]
    assert caught.value.__context__ is None
    assert "secret-argument" not in str(caught.value)
    assert "takes from" not in "".join(traceback.format_exception(caught.value))


def test_a_function_explains_itself_too() -> None:
    class Counter:
        def add(self, *, count: int = 1) -> int:
            return count

    add = explained("Counter.add")(Counter.add)
    assert add(Counter(), count=2) == 2
    with pytest.raises(TypeError, match=r"Counter.add takes count by name: write Counter.add\("):
        add(Counter(), 2)  # type: ignore[call-arg]
