"""The templates of the published StreamSpace."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.streamspace.published.api import (
    PublishedRequest,
    Route,
    TableEntry,
)
from vcloud.emulator.streamspace.published.reading import ABSENT, BodyError, Field, read
from vcloud.emulator.streamspace.published.refusals import Json, PublishedError
from vcloud.emulator.streamspace.published.space import Space
from vcloud.emulator.streamspace.published.state import Template
from vcloud.emulator.streamspace.published.views import template_view

LISTED: Final = 300.0
"""For how many simulated seconds answers about templates are kept."""
OPERATORS: Final = ("admin", "operator")

_NEW: Final = (
    Field(name="repository_id", go="RepositoryID", kind="int"),
    Field(name="name", go="Name"),
    Field(name="display_name", go="DisplayName"),
    Field(name="description", go="Description"),
    Field(name="category", go="Category"),
    Field(name="app_type", go="AppType"),
    Field(name="icon_url", go="IconURL"),
    Field(name="manifest", go="Manifest", kind="any"),
    Field(name="tags", go="Tags", kind="[]string"),
    Field(name="install_count", go="InstallCount", kind="int"),
)
_TEXTS: Final = ("name", "display_name", "description", "category", "app_type", "icon_url")
_REPOSITORY: Final = (
    'pq: insert or update on table "catalog_templates" violates foreign key constraint '
    '"catalog_templates_repository_id_fkey"'
)
_DUPLICATE: Final = (
    'pq: duplicate key value violates unique constraint "catalog_templates_repository_id_name_key"'
)


class Templates:
    """``/templates``."""

    def __init__(self, space: Space) -> None:
        """Serve the templates of `space`."""
        self._space = space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        one = "/templates/{name}"
        return (
            ("GET", "/templates", Route(handler=self._list, cached=LISTED)),
            ("POST", "/templates", Route(handler=self._create, status=201, roles=OPERATORS)),
            ("GET", one, Route(handler=self._get, cached=LISTED)),
            ("DELETE", one, Route(handler=self._delete, roles=OPERATORS)),
        )

    def _list(self, request: PublishedRequest) -> Json:
        query, tags = request.query, request.queries.get("tags")
        category, search = query.get("category", ""), query.get("search", "")
        found = [
            one
            for one in self._space.templates.values()
            if (not category or one.category == category)
            and _mentions(one, search.lower())
            and {tag.lower() for tag in tags or ()} <= {tag.lower() for tag in one.tags or ()}
        ]
        sort = query.get("sort", "")
        _sort(found, sort)
        views = [template_view(one, self._space.clock) for one in found]
        by_category: dict[str, list[Json]] = {}
        for view in views:
            by_category.setdefault(view["category"] or "Other", []).append(view)
        filters = {
            "category": category,
            "featured": query.get("featured", ""),
            "search": search,
            "sortBy": sort,
            "tags": tags,
        }
        # A list that was filtered here is empty, and one from the database is null.
        nothing: list[Json] | None = [] if search or tags else None
        return {
            "categories": by_category,
            "filters": filters,
            "templates": views or nothing,
            "total": len(views),
        }

    def _get(self, request: PublishedRequest) -> Json:
        return template_view(self._found(request), self._space.clock)

    def _create(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "db.Template", _NEW)
        except BodyError as error:
            raise PublishedError(400, str(error)) from error
        if body["manifest"] is ABSENT:
            raise PublishedError(500, "pq: invalid input syntax for type json")
        space, number = self._space, self._space.new_template_id()
        texts = {name: body[name] or "" for name in _TEXTS}
        repository = body["repository_id"] or 0
        if repository not in space.repositories:
            raise PublishedError(500, _REPOSITORY)
        if texts["name"] in space.templates:
            raise PublishedError(500, _DUPLICATE)
        now = space.clock.now()
        template = Template(
            id=number,
            repository_id=repository,
            manifest=body["manifest"],
            tags=body["tags"],
            install_count=body["install_count"] or 0,
            created_at=now,
            updated_at=now,
            **texts,
        )
        space.templates[template.name] = template
        return template_view(template, space.clock, new=True)

    def _delete(self, request: PublishedRequest) -> Json:
        del self._space.templates[self._found(request).name]
        return {"message": "Template deleted"}

    def _found(self, request: PublishedRequest) -> Template:
        template = self._space.templates.get(request.params["name"])
        if template is None:
            raise PublishedError(404, "Template not found")
        return template


def _mentions(template: Template, text: str) -> bool:
    words = (template.display_name, template.description, *(template.tags or ()))
    return any(text in word.lower() for word in words) if text else True


def _sort(found: list[Template], order: str) -> None:
    if order == "popularity":
        found.sort(key=lambda one: -one.install_count)
    elif order == "created":
        found.sort(key=lambda one: -one.created_at)
    else:
        found.sort(key=lambda one: one.display_name.lower())
