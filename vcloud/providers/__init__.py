"""The adapters, one package for each provider. Nothing is imported before it is used."""

from __future__ import annotations

_MODULES = {"computers", "desktops", "streams", "streamspace", "vagon"}


def __getattr__(name: str) -> object:
    # Type checkers know these as attributes once `vcloud` is imported.
    from importlib import import_module  # noqa: PLC0415 - loaded only when used

    if name in _MODULES:
        return import_module(f"vcloud.providers.{name}")
    raise AttributeError(f"module 'vcloud.providers' has no attribute {name!r}")
