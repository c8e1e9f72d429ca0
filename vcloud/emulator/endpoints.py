"""How clients reach an emulator: the URL and the credentials of each service."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, TypedDict

from attrs import frozen

from vcloud.emulator.credentials import Credentials

if TYPE_CHECKING:
    from vcloud import Auth, Endpoint, EndpointOptions


class Endpoints(TypedDict):
    """The arguments that point a `VCloud` at an emulator: one endpoint for each provider."""

    computers: Endpoint
    desktops: Endpoint
    streams: Endpoint
    streamspace: Endpoint


@frozen(kw_only=True)
class AccessDetails:
    """The URLs of the services, and the credentials for them."""

    credentials: Credentials
    computers_url: str
    desktops_url: str
    streams_url: str
    streamspace_url: str
    exposed: bool
    """Whether clients on other machines reach them over plain http."""
    ca_file: str | None
    administered: bool
    """Whether the emulator's own administration needs its token."""
    published: bool
    """Whether StreamSpace is the published one."""

    def endpoints(self, trust: ssl.SSLContext | None, options: EndpointOptions) -> Endpoints:
        """The arguments for `VCloud`, with these options.

        `trust` verifies an emulator that serves TLS.
        """
        # Imported here, because the emulator serves without the client.
        from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth  # noqa: PLC0415 - see above

        def at(url: str, auth: Auth) -> Endpoint:
            ours: EndpointOptions = {"ssl": trust, "allow_http": self.exposed}
            ours.update(options)
            return Endpoint(url, auth=auth, **ours)

        given = self.credentials
        login = BearerAuth.login(given.streamspace_username, given.streamspace_password)
        return {
            "computers": at(
                self.computers_url, HMACAuth(given.computers_key, given.computers_secret)
            ),
            "desktops": at(self.desktops_url, APIKeyAuth(given.desktops_api_key)),
            "streams": at(self.streams_url, HMACAuth(given.streams_key, given.streams_secret)),
            "streamspace": at(self.streamspace_url, login),
        }

    def env(self) -> dict[str, str]:
        """The environment variables."""
        given = self.credentials
        return {
            **({} if self.ca_file is None else {"VCLOUD_CA_FILE": self.ca_file}),
            **({"VCLOUD_ALLOW_HTTP": "1"} if self.exposed else {}),
            **({"VCLOUD_EMULATOR_TOKEN": given.emulator_token} if self.administered else {}),
            "VCLOUD_COMPUTERS_KEY": given.computers_key,
            "VCLOUD_COMPUTERS_SECRET": given.computers_secret,
            "VCLOUD_COMPUTERS_URL": self.computers_url,
            "VCLOUD_DESKTOPS_API_KEY": given.desktops_api_key,
            "VCLOUD_DESKTOPS_URL": self.desktops_url,
            "VCLOUD_STREAMS_KEY": given.streams_key,
            "VCLOUD_STREAMS_SECRET": given.streams_secret,
            "VCLOUD_STREAMS_URL": self.streams_url,
            "VCLOUD_STREAMSPACE_USERNAME": given.streamspace_username,
            "VCLOUD_STREAMSPACE_PASSWORD": given.streamspace_password,
            "VCLOUD_STREAMSPACE_URL": self.streamspace_url,
            **(
                {"VCLOUD_STREAMSPACE_BOOTSTRAP_KEY": given.streamspace_bootstrap_key}
                if self.published
                else {}
            ),
        }
