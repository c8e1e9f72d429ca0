"""What the SDK logs: one printable line for each record, and a printable traceback."""

from __future__ import annotations

import logging
import queue
import traceback
from collections.abc import Iterator
from logging.handlers import QueueHandler
from typing import NoReturn

import pytest

from tests.hostile.texts import HALF, HOSTILE, Lines, assert_printable_lines
from vcloud import printable
from vcloud._core.log import printable_logger

NAME = "vcloud.test_log"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What a log file gets of the logger under test."""
    handler, log = Lines(), printable_logger(NAME)
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler.lines
    log.removeHandler(handler)


def test_texts_from_outside_are_escaped_in_a_message(lines: list[str]) -> None:
    printable_logger(NAME).warning("%s: %s, %d", HALF, ValueError(HOSTILE), 3)
    assert lines == [f"WARNING {NAME} {printable(HALF)}: {printable(HOSTILE)}, 3"]


def test_a_message_that_needs_no_escape_keeps_its_format_and_its_arguments(
    caplog: pytest.LogCaptureFixture,
) -> None:
    printable_logger(NAME).warning("agent %s: %s", "a-1", "100 % busy")
    (record,) = caplog.records
    assert (record.msg, record.args) == ("agent %s: %s", ("a-1", "100 % busy"))


def test_a_percent_sign_in_an_escaped_message_is_not_a_format(lines: list[str]) -> None:
    printable_logger(NAME).warning("%s", "100 %s\x1b")
    assert lines == [rf"WARNING {NAME} 100 %s\x1b"]


def fail(error: Exception) -> NoReturn:
    raise error


def chained() -> Exception:
    """An error that others led to, in each way that Python knows, all with texts from outside."""
    try:
        try:
            try:
                fail(KeyError(HOSTILE))
            except KeyError:
                fail(OSError(HOSTILE))
        except OSError as error:
            error.add_note("looked at \x1b[2J\nand left alone")
            raise ExceptionGroup(HOSTILE, [ValueError(HOSTILE), TypeError(HALF)]) from error
    except ExceptionGroup as error:
        return error


def test_a_traceback_is_printable_with_whatever_led_to_the_error(lines: list[str]) -> None:
    printable_logger(NAME).error("failed", exc_info=chained())
    (text,) = lines
    assert_printable_lines(text)
    assert "looked at \\x1b[2J\nand left alone\n" in text
    for kind in ("KeyError: ", "OSError: ", "ValueError: ", "TypeError: "):
        assert kind in text
    assert "direct cause" in text
    assert "During handling" in text
    assert text.count('File "') == 5


def test_a_traceback_that_needs_no_escape_is_left_to_the_formatter(lines: list[str]) -> None:
    try:
        fail(ValueError("a text of one line"))
    except ValueError as error:
        printable_logger(NAME).exception("failed")
        plain = "".join(traceback.format_exception(error)).rstrip()
    assert lines == [f"ERROR {NAME} failed\n{plain}"]


def test_a_queue_and_its_listener_get_the_escaped_traceback() -> None:
    records: queue.Queue[logging.LogRecord] = queue.Queue()
    handler, log = QueueHandler(records), printable_logger(NAME)
    log.addHandler(handler)
    try:
        log.error("failed", exc_info=ValueError(HOSTILE))
    finally:
        log.removeHandler(handler)
    assert_printable_lines(records.get_nowait().getMessage())


def test_records_without_an_error_are_left_to_handlers_and_formatters(lines: list[str]) -> None:
    printable_logger(NAME).error("failed", exc_info=True)
    assert lines == [f"ERROR {NAME} failed\nNoneType: None"]


def test_a_logger_gets_its_filter_once() -> None:
    log = printable_logger(NAME)
    before = list(log.filters)
    assert printable_logger(NAME) is log
    assert log.filters == before
