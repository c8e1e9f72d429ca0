"""Templates, as the published server reads and answers them."""

from __future__ import annotations

from collections.abc import Mapping

from vcloud._core.request import Request, json_body
from vcloud._core.session import Session
from vcloud.providers.streamspace.dialects.published.freshness import fetch_fresh
from vcloud.providers.streamspace.dialects.published.models import TEMPLATE, TEMPLATES
from vcloud.providers.streamspace.dialects.published.paths import segment
from vcloud.providers.streamspace.refusals import check_query_value
from vcloud.providers.streamspace.templates import Template
from vcloud.providers.streamspace.wire import WholeList


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
