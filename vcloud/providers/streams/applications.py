"""Applications, which can be streamed: the handle, the fields of a fetched one, and the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from attrs import frozen

from vcloud._core.arguments import number, optional_member, text
from vcloud._core.decoding.models import InnerId, none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.search import named
from vcloud._core.request import Request, drop_none, json_body, path_segment
from vcloud._core.resource import Handle, IdCollection
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streams.models import Executable, KeyMapping, MachineType
from vcloud.providers.vagon_resources import Item, Listing, Nested, listing, resource, resources

__all__ = ["Application", "ApplicationRef", "Applications"]

#: Applications and streams on a page, by the document's request tables.
PER_PAGE: Final = 100


@frozen(kw_only=True)
class ApplicationRef(Handle):
    """An application by its id."""

    _absent: ClassVar[Mapping[str, str]] = {
        "refresh": "the API fetches no single application: list() has them",
        "update": "did you mean configure?",
        "streams": "write streams.streams.list(application)",
        "connect": "its streams have it: write streams.streams.list(application)",
        "start": "its streams have start_machine: write streams.streams.list(application)",
    }

    # A number among the attributes, and a text beside them.
    id: InnerId = ""

    async def configure(
        self,
        *,
        application_name: str | None = None,
        key_mapping_selection: KeyMapping | str | None = None,
        changeable_key_mapping: bool | None = None,
        machine_type: MachineType | int | None = None,
    ) -> Application:
        """Change the settings that are given.  ``PUT /applications/{application_id}``

        Args:
            application_name: its new name.
            key_mapping_selection: how it handles mouse and keyboard.
            changeable_key_mapping: whether visitors may change the key mapping.
            machine_type: the hardware that it runs on; sent as ``machine_type_id``.

        Raises:
            InvalidArgumentError: the name is empty, there is no such key mapping, the machine type
                is no number, or no setting is given.
            NotFoundError: there is no such application.
            InvalidRequestError: the service does not accept a value (400).
        """
        if application_name is not None and not application_name.strip():
            raise InvalidArgumentError("application_name must not be empty")
        body = drop_none(
            application_name=application_name,
            key_mapping_selection=optional_member(
                key_mapping_selection, KeyMapping, "key_mapping_selection"
            ),
            changeable_key_mapping=changeable_key_mapping,
            machine_type_id=None if machine_type is None else number(machine_type, "machine_type"),
        )
        if not body:
            raise InvalidArgumentError("nothing to configure: give at least one setting")
        return await self._session.fetch(
            Request("PUT", f"/applications/{path_segment(self.id)}", body=json_body(body)),
            APPLICATION,
        )


@frozen(kw_only=True, field_transformer=none_when_absent)
class Application(ApplicationRef):
    """An application as it was when it was fetched.

    Attributes:
        id: the application's id.
        name: its name.
        status: such as ``active``.
        banner_url: its banner, as the service sent it; None when it has none.
        logo_url: its logo, as the service sent it; None when it has none.
        friendly_status: such as ``live`` or ``no_streams``.
        os: the operating system, such as ``windows``.
        active_executable: the version that streams use; None before the first upload.
        performance: its hardware's friendly name, such as ``Pro - G2``.
        enterprise: as the service sends it; the document only shows null.
        pro: as the service sends it; the document only shows null.
    """

    nested: ClassVar[tuple[str, ...]] = ("active_executable",)

    name: str | None
    status: str | None
    banner_url: str | None
    logo_url: str | None
    friendly_status: str | None
    os: str | None
    active_executable: Nested[Executable] | None
    performance: str | None
    enterprise: Any = None
    pro: Any = None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class ApplicationList(Listing):
    """``GET /applications``."""

    key: ClassVar[str] = "applications"

    applications: list[Item[Application]] | None


APPLICATION = resource(Application)
APPLICATIONS = resources(ApplicationList, Application)


class Applications(IdCollection[ApplicationRef]):
    """The applications of the account. They are created in Vagon's dashboard."""

    _absent: ClassVar[Mapping[str, str]] = {
        "get": "the API fetches no single application: list() has them",
        "get_by_name": "did you mean find?",
        "create": "applications are created in Vagon's dashboard",
    }

    _handle = ApplicationRef

    def list(self, *, page: int | None = None, per_page: int = PER_PAGE) -> Pager[Application]:
        """All applications.  ``GET /applications``

        The document requires both parameters, so both are always sent.

        Args:
            page: the page to begin with.
            per_page: applications per page.
        """
        return listing(self._session, "/applications", APPLICATIONS, page=page, per_page=per_page)

    async def find(self, name: str) -> Application | None:
        """The application with exactly this name, or None. All pages of :meth:`list` are read.

        Args:
            name: the whole name, in the same case.

        Raises:
            InvalidArgumentError: the name is blank, or several applications have it; the message
                has their ids.
            DecodeError: some applications cannot be read.
        """
        return await named(self.list(per_page=100), text(name, "name"), "application")
