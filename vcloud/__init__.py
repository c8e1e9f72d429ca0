"""Cloud desktops for asyncio: one SDK for the APIs that rent, start and drive remote machines.

Everything public is here. A name's module is imported when the name is first used: a program that
needs one provider does not load the others. ``__init__.pyi`` lists the names and their modules.
"""

from __future__ import annotations

#: The module of each public name; filled when the first one is used.
_MODULE_OF: dict[str, str] = {}


def _public_names() -> dict[str, str]:
    """Each public name and its module, as the stub beside this file lists them."""
    if not _MODULE_OF:
        import ast  # noqa: PLC0415 - only programs that use a name need it
        from importlib.resources import files  # noqa: PLC0415 - as above

        stub = ast.parse(files("vcloud").joinpath("__init__.pyi").read_bytes())
        for node in stub.body:
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                _MODULE_OF.update({alias.name: node.module for alias in node.names})
    return _MODULE_OF


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415 - as above

    if name == "__all__":
        return __dir__()
    try:
        module = _public_names()[name]
    except KeyError:
        hint = "" if name.startswith("_") else _nearest(name)
        raise AttributeError(f"module 'vcloud' has no attribute {name!r}{hint}") from None
    if module == __name__:
        return import_module(f"vcloud.{name}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def _nearest(name: str) -> str:
    from vcloud._core.suggestions import did_you_mean  # noqa: PLC0415 - only a mistake needs it

    question = did_you_mean(name, __dir__())
    return f": {question}" if question else ""


def __dir__() -> list[str]:
    names = [name for name, module in _public_names().items() if module != __name__]
    return sorted(names)
