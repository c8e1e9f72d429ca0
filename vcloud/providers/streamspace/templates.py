"""Templates: the applications that sessions run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from vcloud._core.arguments import identifier
from vcloud._core.decoding.models import ListOf, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, path_segment
from vcloud._core.resource import Collection, Handle, bind
from vcloud._core.scalars import GoDuration, Id, Instant
from vcloud.providers.streamspace.models import TemplateResources, TemplateVNC
from vcloud.providers.streamspace.spelling import NamedModel, WireModel
from vcloud.providers.streamspace.wire import Listing, PagedList, listing, resource, resources

__all__ = ["Template", "TemplateRef", "Templates"]


@frozen(kw_only=True)
class TemplateRef(Handle, WireModel):
    """A template by its name; no request is needed to make it."""

    _absent: ClassVar[Mapping[str, str]] = {
        "create": "write sessions.create(user, template)",
        "launch": "write sessions.create(user, template)",
        "run": "write sessions.create(user, template)",
        "start": "write sessions.create(user, template)",
    }

    name: str

    async def refresh(self) -> Template:
        """Fetch the template, with all its fields.  ``GET /templates/{template_name}``

        Raises:
            NotFoundError: there is no such template.
        """
        return await self._session.fetch(
            Request("GET", f"/templates/{path_segment(self.name, 'name')}"), TEMPLATE
        )


@frozen(kw_only=True, field_transformer=none_when_absent)
class Template(NamedModel, NullAsEmpty, TemplateRef):
    """A template as it was when it was fetched.

    Attributes:
        id: its UUID. Requests take ``name`` instead.
        name: the name to create a session with.
        display_name: its name for people.
        category: its category, such as ``Web Browsers``.
        description: its description.
        base_image: the container image.
        default_resources: the limits of a session for which no others are given.
        vnc: how its sessions serve VNC.
        environment: variables of the container; empty in a list.
        persistent_home: whether the home directory is kept after a session; None in a list.
        idle_timeout: how long a session may be idle before it hibernates; None in a list.
        icon_url: the address of its icon, as the service sent it; None in a list.
        tags: words to find it by.
        created_at: when it was created.
        updated_at: when it last changed.
    """

    id: Id
    display_name: str | None
    category: str | None
    description: str | None
    base_image: str | None
    default_resources: TemplateResources | None
    vnc: TemplateVNC | None
    environment: MappingOf[Any] = field(factory=dict, hash=False)
    persistent_home: bool | None = None
    idle_timeout: GoDuration | None = None
    icon_url: str | None = None
    tags: ListOf[str] = ()
    created_at: Instant | None
    updated_at: Instant | None


@frozen(kw_only=True, eq=False, repr=False)
class TemplateList(Listing):
    """``GET /templates``."""

    key: ClassVar[str] = "templates"

    templates: list[Template] | None = None
    items: list[Template] | None = None


TEMPLATE = resource(Template)
TEMPLATES = resources(TemplateList, Template)


class Templates(Collection):
    """The templates."""

    def list(
        self, *, category: str | None = None, page: int | None = None, limit: int | None = None
    ) -> Pager[Template]:
        """List the templates that match the filter.  ``GET /templates``

        Args:
            category: templates of this category.
            page: the page to begin with; the first is 1.
            limit: templates per page, at most 100; the service's default is 50.

        Raises:
            InvalidArgumentError: a page or limit out of bounds.
        """
        wanted = PagedList("/templates", TEMPLATES, {"category": category})
        return listing(self._session, lambda _: wanted, page=page, limit=limit)

    async def get(self, name: TemplateRef | str) -> Template:
        """Fetch one template, with all its fields.  ``GET /templates/{template_name}``

        Raises:
            NotFoundError: there is no such template.
        """
        return await self.ref(name).refresh()

    def ref(self, name: TemplateRef | str) -> TemplateRef:
        """A handle, without asking the service.

        Raises:
            InvalidArgumentError: what is given cannot be a name.
        """
        return bind(TemplateRef(name=identifier(name, "name", TemplateRef, "name")), self._session)
