"""Templates, as the published server reads and answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec
from msgspec import UnsetType

from vcloud._core.decoding.shape import Shape
from vcloud._core.decoding.spelled import spelled, spells
from vcloud._core.request import Request, json_body
from vcloud._core.resources import Opened
from vcloud._core.scalars import Id, Instant, Integer
from vcloud._core.session import Session
from vcloud.providers.streamspace.dialects.published.answer import Answer, foreign
from vcloud.providers.streamspace.dialects.published.freshness import fetch_fresh
from vcloud.providers.streamspace.dialects.published.paths import segment
from vcloud.providers.streamspace.refusals import check_query_value
from vcloud.providers.streamspace.templates import Template, TemplateList
from vcloud.providers.streamspace.wire import Listing, WholeList, resource, resources


@spells(Template)
class TemplateAnswer(Answer, rename=None, kw_only=True):
    """A template, whose names are those of the database."""

    id: Id
    name: str
    repository_id: Integer | None = None
    display_name: str | None = None
    description: str | None = None
    category: str | None = None
    app_type: str | None = None
    icon_url: str | None = None
    manifest: Any = None
    tags: tuple[str, ...] | None = None
    install_count: Integer | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    documented: msgspec.Raw | UnsetType = foreign("base_image")


@spells(TemplateList)
class TemplatesAnswer(Answer, kw_only=True):
    """``GET /templates``. Its ``categories`` hold each template once more."""

    item_fields: ClassVar = ("templates",)
    unread: ClassVar = frozenset({"categories", "filters"})

    templates: list[TemplateAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = foreign("pagination")


TEMPLATE: Final = resource(spelled(Template, TemplateAnswer))
TEMPLATES: Final[Shape[Listing, Opened[Template]]] = resources(
    spelled(TemplateList, TemplatesAnswer), Template
)


async def fetch(session: Session, name: str) -> Template:
    """``GET /templates/{name}``"""
    instead = "list() has it, and no other call reaches a name with / or .."
    path = f"/templates/{segment(session, name, 'template', instead)}"
    return await fetch_fresh(session, path, TEMPLATE)


def listed(session: Session, category: str | None) -> WholeList[Template]:
    """``GET /templates``"""
    if category:
        check_query_value(
            session, category, "category", "leave it out, and compare each template's category"
        )
    # An empty category is none to the server, as it is no filter for the document.
    return WholeList("/templates", TEMPLATES, {"category": category or None})


async def create(session: Session, fields: Mapping[str, object]) -> Template:
    """``POST /templates``"""
    return await session.fetch(Request("POST", "/templates", body=json_body(fields)), TEMPLATE)
