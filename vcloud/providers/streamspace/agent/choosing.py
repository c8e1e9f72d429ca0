"""Chooses how an agent talks: as the installation's dialect says."""

from __future__ import annotations

from collections.abc import Callable
from ssl import SSLContext

from attrs import frozen

from vcloud._core.session import Session
from vcloud.auth import APIKeyAuth
from vcloud.errors import AuthenticationError, ConfigurationError
from vcloud.providers.streamspace.agent.documented.link import DocumentedLink
from vcloud.providers.streamspace.agent.documented.vnc_viewers import DocumentedViewers
from vcloud.providers.streamspace.agent.handler import AgentHandler
from vcloud.providers.streamspace.agent.hooks import Reporter
from vcloud.providers.streamspace.agent.link import Link, Viewers
from vcloud.providers.streamspace.agent.messages import Register
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.published.approval import Approval
from vcloud.providers.streamspace.agent.published.link import PublishedLink
from vcloud.providers.streamspace.agent.published.vnc_viewers import PublishedViewers
from vcloud.providers.streamspace.installation import calls
from vcloud.providers.streamspace.models import Platform
from vcloud.providers.streamspace.refusals import unsupported

__all__ = ["LinkOptions", "link_and_viewers"]


@frozen
class LinkOptions:
    """What an agent is made of, as far as its link and its viewers need it.

    Attributes:
        client: the client's session, for requests.
        session: the agent's, for what it sends itself.
        register: what it sends about itself.
        key: its key, or the installation's bootstrap key.
        remembers: whether it keeps what it did in a file.
        approval_timeout: seconds that it waits for its approval; None: no limit.
        handler: knows where the VNC servers are.
        outbox: the messages to send.
        reporter: reports errors.
        on_token_refused: is called with the error that ends the agent.
    """

    client: Session
    session: Session
    register: Register
    key: APIKeyAuth | None
    remembers: bool
    approval_timeout: float | None
    handler: AgentHandler
    outbox: Outbox
    reporter: Reporter
    on_token_refused: Callable[[AuthenticationError], None]


async def link_and_viewers(options: LinkOptions) -> tuple[Link, Viewers]:
    """How the agent talks to this installation. If its dialect is not known yet, it is asked.

    Raises:
        ConfigurationError: the agent has no key, and needs one.
        UnsupportedError: it has one, and the documented dialect has none; or the published server
            refuses its name.
        VCloudError: the installation cannot be asked.
    """
    session, key = options.session, options.key
    # With its key, so that the agent needs no login to find out.
    session = session if key is None else session.with_auth(key)
    if (await calls(session)).name == "published":
        return _published(options, session)
    if key is not None:
        raise unsupported(
            options.session,
            "keys of agents",
            "leave api_key out of serve_agent(), and give the client auth=BearerAuth(...); if this "
            'is a published server behind a gateway, give the client dialect="published"',
        )
    link = DocumentedLink(options.client, options.session, options.register)
    viewers = DocumentedViewers(
        options.session,
        options.handler,
        options.outbox,
        options.reporter.error,
        options.on_token_refused,
    )
    return link, viewers


def _published(options: LinkOptions, session: Session) -> tuple[Link, Viewers]:
    register = options.register
    if options.key is None and not isinstance(
        session.transport_options.extra.get("ssl"), SSLContext
    ):
        # A context may hold a client certificate, which the server takes instead.
        raise ConfigurationError(
            f"{session.base_url} is StreamSpace's published server, whose agents have a key: give "
            "serve_agent(api_key=...) the agent's own, or the installation's bootstrap key"
        )
    if register.platform != Platform.KUBERNETES:
        options.reporter.other_platform(str(register.platform))
    approval = Approval(options.reporter.pending, options.approval_timeout)
    if options.reporter.reconciles and not options.remembers:
        options.reporter.cannot_reconcile()
    link = PublishedLink(session, register, approval, lists_sessions=options.remembers)
    return link, PublishedViewers(options.handler, link.encode, options.reporter.error)
