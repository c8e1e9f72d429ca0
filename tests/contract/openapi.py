"""The documents as OpenAPI.

Vagon Computers is documented in OpenAPI, one block for each operation:
``documents/computers.openapi.json`` has all blocks in one, without the prose. The other documents
are made from the same data as the rest of the contract tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.contract.contract_harness import DOCUMENTS, Provider

Json = dict[str, Any]

_TYPES = {
    "array": {"type": "array", "items": {"type": "string"}},
    "array[object]": {"type": "array", "items": {"type": "object"}},
    "array[integer]": {"type": "array", "items": {"type": "integer"}},
    "string|array[string]": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    },
}


def openapi(provider: Provider, known: Mapping[str, Sequence[str]] | None = None) -> Json:
    """A provider's document.

    Args:
        provider: whose.
        known: for each name in a path, the values that exist at the service. None: any text.
    """
    blocks = DOCUMENTS / f"{provider.api}.openapi.json"
    document: Json = (
        json.loads(blocks.read_text(encoding="utf-8")) if blocks.exists() else _made_of(provider)
    )
    for path, operations in document["paths"].items():
        # The blocks leave them out.
        names = re.findall(r"\{(\w+)\}", path)
        operations["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"enum": [*map(str, known[name])]} if known else {"type": "string"},
            }
            for name in names
        ]
    return document


def _made_of(provider: Provider) -> Json:
    paths: dict[str, Json] = {}
    for operation in provider.operations:
        made: Json = {"responses": {"200": {"description": "done"}}}
        made["parameters"] = [
            {
                "name": given["name"],
                "in": "query",
                "required": bool(given["required"]),
                "schema": _schema(given),
            }
            for given in operation["query"]
        ]
        if operation["body_fields"]:
            made["requestBody"] = {
                "content": {"application/json": {"schema": _body(operation["body_fields"])}}
            }
        paths.setdefault(operation["path"], {})[operation["method"].lower()] = made
    return {"openapi": "3.0.0", "info": {"title": provider.api, "version": "1"}, "paths": paths}


def _body(fields: Sequence[Json]) -> Json:
    """The schema of a body; one for each ``action`` that its fields belong to, if they do."""
    actions = list(dict.fromkeys(given["action"] for given in fields if "action" in given))
    if not actions:
        return _object(fields)
    alternatives = [
        _object([given for given in fields if given.get("action") in (None, action)])
        for action in actions
    ]
    for action, alternative in zip(actions, alternatives, strict=True):
        alternative["properties"]["type"] = {"type": "string", "enum": [action]}
    return {"anyOf": alternatives}


def _object(fields: Sequence[Json]) -> Json:
    made: Json = {"type": "object", "properties": {}}
    for given in fields:
        *way, name = given["name"].split(".")
        place = made
        for step in way:
            place = place["properties"][step.removesuffix("[]")]
            place = place.get("items", place)
        place.setdefault("properties", {})[name] = _schema(given)
        if given["required"]:
            place.setdefault("required", []).append(name)
    return made


def _schema(given: Json) -> Json:
    made = json.loads(json.dumps(_TYPES.get(given["type"], {"type": given["type"]})))
    bounds = {"minimum": "minimum", "maximum": "maximum", "format": "format", "const": "const"}
    made |= {
        ours: given[theirs]
        for theirs, ours in bounds.items()
        if theirs in given and given["type"] != "array"
    }
    if "const" in made:
        made["enum"] = [made.pop("const")]
    return made  # type: ignore[no-any-return]
