"""The adapters, one package for each provider. Nothing is imported before it is used."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    # Type checkers know these packages as attributes once `vcloud` is imported.
    from importlib import import_module  # noqa: PLC0415 - loaded only when used

    module = f"{__name__}.{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise  # something that the package imports
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
