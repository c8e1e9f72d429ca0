"""Templates: the applications that sessions run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import field, frozen

from vcloud._core.arguments import identifier, text
from vcloud._core.decoding.absent import often_absent
from vcloud._core.decoding.models import ListOf, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.request import drop_none
from vcloud._core.resource import Collection, Handle, bind
from vcloud._core.scalars import GoDuration, Id, Instant, Integer
from vcloud._core.session import Session
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.arguments import checked_tags
from vcloud.providers.streamspace.calls import Calls
from vcloud.providers.streamspace.installation import calls
from vcloud.providers.streamspace.models import TemplateResources, TemplateVNC
from vcloud.providers.streamspace.spelling import NamedModel, WireModel
from vcloud.providers.streamspace.wire import (
    Listing,
    PagedList,
    WholeList,
    listing,
    resource,
    resources,
)

__all__ = ["Template", "TemplateCalls", "TemplateRef", "Templates"]


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
        by: TemplateCalls = (await calls(self._session)).templates
        return await by.fetch(self._session, self.name)


@often_absent("icon_url", "repository_id", "app_type", "manifest", "install_count")
@frozen(kw_only=True, field_transformer=none_when_absent)
class Template(NamedModel, NullAsEmpty, TemplateRef):
    """A template as it was when it was fetched.

    The published server has no ``base_image``, ``default_resources``, ``vnc``, ``environment``,
    ``persistent_home`` and ``idle_timeout``: they are None or empty, and what there is of them is
    in ``manifest``. The API document has none of the last four fields.

    Attributes:
        id: its UUID; on the published server a number. Requests take ``name`` instead.
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
        repository_id: the catalog that it belongs to.
        app_type: what kind of application it is, such as ``desktop``.
        manifest: what an agent makes a session of, as the server keeps it: plain JSON, an object as
            a rule.
        install_count: how often it was installed.
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
    repository_id: Integer | None = None
    app_type: str | None = None
    manifest: Any = field(default=None, hash=False)
    install_count: Integer | None = None


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

        The published server sends all of them in one answer, up to five minutes old if its cache is
        on; there ``limit`` is the size of what :meth:`Pager.pages` yields.

        Args:
            category: templates of this category.
            page: the page to begin with; the first is 1. The published server has no pages.
            limit: templates per page, at most 100; the service's default is 50.

        Raises:
            InvalidArgumentError: a page or limit out of bounds.
            UnsupportedError: (at the first await or iteration) ``page``, or a category that the
                filter of the published server refuses; nothing was sent.
        """
        session = self._session

        def wanted(known: Calls) -> PagedList[Template] | WholeList[Template]:
            by: TemplateCalls = known.templates
            return by.listed(session, category)

        return listing(session, wanted, page=page, limit=limit)

    async def create(
        self,
        name: str,
        repository_id: int,
        *,
        manifest: Mapping[str, Any] | None = None,
        display_name: str | None = None,
        description: str | None = None,
        category: str | None = None,
        app_type: str | None = None,
        icon_url: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> Template:
        """Create a template; the request is never sent twice.  ``POST /templates``

        Only the published server has this, for operators and administrators.

        Args:
            name: the name to create sessions with; one of its kind in its repository.
            repository_id: the catalog that it belongs to. The server has no template without one;
                ``GET /catalog/repositories`` lists them.
            manifest: what an agent makes a session of, plain JSON. The server reads the image and
                the ports in it, and tells from them how a session shows its desktop: **without one
                it is not by VNC**.
            display_name: its name for people; None: the name.
            description: its description.
            category: its category.
            app_type: what kind of application it is, such as ``desktop``.
            icon_url: the address of its icon.
            tags: words to find it by.

        Raises:
            InvalidArgumentError: the name is blank, the repository is not a number, or a tag is
                empty or has a comma.
            ConflictError: the repository has a template of that name.
            InvalidRequestError: there is no such repository.
            PermissionDeniedError: you are neither an operator nor an administrator.
            TransportError: with ``outcome_unknown``, when the answer was lost.
            UnsupportedError: the installation answers as the API document says, which has no way to
                do it; nothing was sent.
        """
        if type(repository_id) is not int:
            raise InvalidArgumentError(f"repository_id must be a number, not {repository_id!r}")
        if not isinstance(manifest, Mapping | None):
            raise InvalidArgumentError(f"manifest must be a mapping, not {manifest!r:.200}")
        fields = drop_none(
            name=text(name, "name"),
            repository_id=repository_id,
            manifest=dict(manifest or {}),
            display_name=name if display_name is None else display_name,
            description=description,
            category=category,
            app_type=app_type,
            icon_url=icon_url,
            tags=None if tags is None else checked_tags(tags),
        )
        by: TemplateCalls = (await calls(self._session)).templates
        return await by.create(self._session, fields)

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


class TemplateCalls(Protocol):
    """What each dialect has a function for: the calls of :class:`Templates` and its handles."""

    async def fetch(self, session: Session, name: str, /) -> Template:
        """The template as it is now."""
        ...

    def listed(
        self, session: Session, category: str | None, /
    ) -> PagedList[Template] | WholeList[Template]:
        """What to ask for the list of these templates."""
        ...

    async def create(self, session: Session, fields: Mapping[str, object], /) -> Template:
        """Create a template of these fields."""
        ...
