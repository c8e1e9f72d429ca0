"""The pytest plugin: an emulator for each test that requests one.

To use it, install ``vcloud-sdk[pytest]``. It imports the emulator only when a test requests it,
because pytest loads the plugin wherever the package is installed.
"""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vcloud.emulator import Emulator

_MARKER = (
    "vcloud_emulator(**options): the options of the fixture vcloud_emulator: the arguments of "
    "vcloud.emulator.Emulator, such as machines=3, speed=60, rate_limits=False. A marker nearer to "
    "the test overrides others."
)


_ENTRY_POINT = "vcloud"


class _OtherName:
    """A plugin without hooks, registered under this plugin's other name."""


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """Register both names, so that the plugin can be loaded in any way, or in several.

    It is loaded as an entry point, with ``-p``, or from ``pytest_plugins``. Pytest identifies
    plugins by name, and this one has two: of its entry point, and of this module. Pytest fails when
    it loads a module under a second name, and skips a name that is taken.
    """
    if plugin is sys.modules[__name__]:
        for name in (_ENTRY_POINT, __name__):
            if not manager.has_plugin(name):
                manager.register(_OtherName(), name)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for ``--strict-markers``."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def vcloud_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """A new emulator in its own thread, for tests with or without an event loop.

    Connect a client with ``VCloud(**vcloud_emulator.endpoints())``, or any program with
    ``vcloud_emulator.env()``. Add faults with ``vcloud_emulator.faults``, let time pass with
    ``vcloud_emulator.advance()``, answer commands with ``vcloud_emulator.desktops.on_bash()``, and
    find requests with ``vcloud_emulator.calls.matching()``. The marker ``vcloud_emulator``
    configures it.
    """
    options = _options(request)
    from vcloud.emulator import Emulator  # noqa: PLC0415 - see the module's docstring

    _check(options, inspect.signature(Emulator).parameters)
    with Emulator(**options) as emulator:
        yield emulator


@pytest.fixture
def vcloud_env(vcloud_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment variables that point ``VCloud.from_env()`` at ``vcloud_emulator``.

    They are set during the test. Other variables that begin with ``VCLOUD_`` are unset meanwhile.
    """
    for name in [name for name in os.environ if name.startswith("VCLOUD_")]:
        monkeypatch.delenv(name)
    variables = vcloud_emulator.env()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    options: dict[str, Any] = {}
    # The nearest comes first.
    for marker in reversed(list(request.node.iter_markers("vcloud_emulator"))):
        if marker.args:
            msg = (
                "the marker vcloud_emulator takes named arguments only, as in machines=3, not "
                f"{marker.args!r}"
            )
            raise pytest.UsageError(msg)
        options |= marker.kwargs
    return options


def _check(options: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            msg = f"the marker vcloud_emulator got an unexpected keyword argument {name!r}: {hint}"
            raise pytest.UsageError(msg)
