"""Skips or fails a test on a machine that lacks something it needs."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def untested(reason: str) -> NoReturn:
    """Skip the test and say loudly why; in CI, where nothing may be lacking, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def unnamed(reason: str) -> NoReturn:
    """Skip a test that needs an installation of the user's own, in CI too: CI cannot have one."""
    pytest.skip(reason)
