"""Threads that decode answers of a class for the first time at once."""

from __future__ import annotations

import subprocess
import sys

#: While msgspec learns the fields of Inner, and so of Outer, the other thread decodes an Outer.
PROGRAM = """
from __future__ import annotations
import threading, attrs
from vcloud._core.codec import Codec

learning, decoded = threading.Event(), threading.Event()

def slowly():
    learning.set()
    decoded.wait(0.3)
    return int

@attrs.frozen
class Inner:
    number: slowly()

@attrs.frozen
class Outer:
    inner: Inner
    last: int

def decode():
    assert Codec().decode(b'{"inner":{"number":1},"last":2}', Outer).last == 2

first = threading.Thread(target=decode)
first.start()
assert learning.wait(10)
decode()
decoded.set()
first.join()
"""


def test_the_first_answers_of_a_class_in_two_threads() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
