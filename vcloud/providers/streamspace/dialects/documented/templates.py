"""Templates, as the API document says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from vcloud._core.request import Request, path_segment
from vcloud._core.session import Session
from vcloud.providers.streamspace.refusals import unsupported
from vcloud.providers.streamspace.templates import TEMPLATE, TEMPLATES, Template
from vcloud.providers.streamspace.wire import PagedList


async def fetch(session: Session, name: str) -> Template:
    """``GET /templates/{template_name}``"""
    return await session.fetch(Request("GET", f"/templates/{path_segment(name, 'name')}"), TEMPLATE)


def listed(
    session: Session,  # noqa: ARG001 - the signature of both dialects
    category: str | None,
) -> PagedList[Template]:
    """``GET /templates``"""
    return PagedList("/templates", TEMPLATES, {"category": category})


async def create(session: Session, fields: Mapping[str, object]) -> NoReturn:  # noqa: ARG001
    """The document has no path for it."""
    raise unsupported(session, "templates.create()", "make the template on the server itself")
