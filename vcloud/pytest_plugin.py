"""The pytest plugin: an emulator for each test that asks for one. Installing ``vcloud-sdk[pytest]`` is all it takes.

Nothing is imported before a test asks, because pytest loads this for everybody who has the package installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vcloud.emulator import Emulator

_MARKER = (
    "vcloud_emulator(**options): what the fixture vcloud_emulator is made with: the arguments of vcloud.emulator.Emulator, "
    "as in machines=3, speed=60, rate_limits=False. Those nearer to the test count for more."
)


_ENTRY_POINT = "vcloud"


class _OtherName:
    """Stands for this plugin under the name by which it was not loaded; it has no hooks."""


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """Be one plugin, loaded as an entry point, with ``-p``, or from ``pytest_plugins``.

    Pytest knows plugins by name, and this one has two: of its entry point, and of this module. It
    ends with an error when a module comes under a second name, and loads nothing by a name that is
    taken. So the first that is used takes both.
    """
    if plugin is sys.modules[__name__]:
        for name in (_ENTRY_POINT, __name__):
            if not manager.has_plugin(name):
                manager.register(_OtherName(), name)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, so that ``--strict-markers`` lets it pass."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def vcloud_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """A fresh emulator of all four services, in a thread of its own: for tests of any style, with or without an event loop.

    Lead a client there with ``VCloud(**vcloud_emulator.endpoints())``, or any program with ``vcloud_emulator.env()``. What
    is to go wrong is said with ``vcloud_emulator.faults``, time passes with ``vcloud_emulator.clock``, and what was asked
    is in ``vcloud_emulator.calls``. The marker ``vcloud_emulator`` configures it.
    """
    options = _options(request)
    from vcloud.emulator import Emulator  # noqa: PLC0415 - see above

    with Emulator(**options) as emulator:
        yield emulator


@pytest.fixture
def vcloud_env(vcloud_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment, led to ``vcloud_emulator`` for the length of the test: ``VCloud.from_env()`` finds it there.

    Variables of a real account are hidden meanwhile. Returns those that are set.
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
            msg = f"the marker vcloud_emulator takes named arguments only, as in machines=3, not {marker.args!r}"
            raise pytest.UsageError(msg)
        options |= marker.kwargs
    return options
