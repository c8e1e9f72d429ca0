"""The templates of sessions."""

from __future__ import annotations

from vcloud.emulator.streamspace.api import Route, StreamSpaceRequest, TableEntry
from vcloud.emulator.streamspace.arguments import Json, paginate
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.views import single_template_view, template_view


class Templates:
    """``/templates``."""

    def __init__(self, fleet: Fleet) -> None:
        """Serve the templates of `fleet`."""
        self._fleet = fleet

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return (
            ("GET", "/templates", Route(self._list_templates)),
            ("GET", "/templates/{name}", Route(self._get_template)),
        )

    def _list_templates(self, request: StreamSpaceRequest) -> Json:
        category = request.query.get("category")
        found = [
            template_view(template, self._fleet.clock)
            for template in self._fleet.templates.values()
            if category in (None, template.category)
        ]
        page, where = paginate(found, request.query, limit=50)
        return {"templates": page, "pagination": where}

    def _get_template(self, request: StreamSpaceRequest) -> Json:
        return single_template_view(self._fleet.template(request.params["name"]), self._fleet.clock)
