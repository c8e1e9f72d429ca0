"""Endpoints from environment variables, as ``from_env`` reads them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
from attrs import evolve

from vcloud._core.addresses import is_localhost, is_loopback
from vcloud._core.endpoint import Endpoint, check_resolver
from vcloud._core.endpoint_options import FROM_ENV, EndpointOptions, check_options
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.auth import Auth

__all__ = ["Credentials", "Variables", "merged_options", "read_endpoints"]

_ALLOW_HTTP: Final = "VCLOUD_ALLOW_HTTP"
_CA_FILE: Final = "VCLOUD_CA_FILE"


class Credentials(msgspec.Struct, frozen=True):
    """One kind of credentials that a provider accepts.

    Attributes:
        auth: makes the strategy.
        required: the suffixes of its required variables, in the order of the strategy's arguments.
        optional: the suffixes of further variables, and the arguments that they become.
    """

    auth: Callable[..., Auth]
    required: tuple[str, ...]
    optional: Mapping[str, str] = {}


class Variables(msgspec.Struct, frozen=True):
    """The variables of one provider.

    Attributes:
        name: the provider's, such as ``computers``.
        credentials: the kinds that it accepts. The first kind whose variables are all set is used.
        needs_url: it has no default address.
    """

    name: str
    credentials: tuple[Credentials, ...]
    needs_url: bool = False

    @property
    def url(self) -> str:
        """The variable of its address."""
        return self._variable("URL")

    @property
    def wanted(self) -> str:
        """The variables to set to use the provider, as a part of a message."""
        kinds = " or ".join(" and ".join(self._all(one.required)) for one in self.credentials)
        return f"{self.url} and {kinds}" if self.needs_url else kinds

    @property
    def strategy(self) -> str:
        """How its usual credentials are written, as a part of a message."""
        first = self.credentials[0]
        return f"{first.auth.__qualname__}({', '.join(map(str.lower, first.required))})"

    def required_endpoint(
        self,
        environ: Mapping[str, str] | None,
        options: EndpointOptions,
        *,
        foreign_session: bool = False,
    ) -> Endpoint:
        """The provider's endpoint, as :func:`read_endpoints` reads it.

        Raises:
            ConfigurationError: as there, or no variable is set.
        """
        found = read_endpoints([self], environ, {self.name: options}, foreign_session)
        if self.name not in found:
            raise ConfigurationError(
                f"the environment does not configure {self.name}: set {self.wanted}"
            )
        return found[self.name]

    def endpoint(
        self,
        environ: Mapping[str, str],
        options: EndpointOptions,
        *,
        allow_http: bool = False,
        foreign_session: bool = False,
    ) -> Endpoint | None:
        """The provider's endpoint; None when no variable of its credentials is set.

        Args:
            environ: the variables.
            options: of the endpoint.
            allow_http: plain http is permitted to other machines.
            foreign_session: the user's own ``client_session`` resolves names.

        Raises:
            ConfigurationError: a variable is missing or has an invalid value.
        """
        incomplete: list[str] = []
        for credentials in self.credentials:
            required = self._all(credentials.required)
            missing = [variable for variable in required if not environ.get(variable)]
            if not missing:
                allowed = options.get("allow_http", allow_http)
                endpoint = self._endpoint(environ, credentials, allowed, foreign_session)
                return self._with_options(endpoint, options, foreign_session=foreign_session)
            if len(missing) < len(required):
                incomplete = missing
        if incomplete:
            raise self._missing(*incomplete)
        return None

    def _endpoint(
        self,
        environ: Mapping[str, str],
        credentials: Credentials,
        allow_http: bool,  # noqa: FBT001 - as above, by name there
        foreign_session: bool,  # noqa: FBT001
    ) -> Endpoint:
        url = environ.get(self.url) or None
        if self.needs_url and url is None:
            raise self._missing(self.url)
        required = self._all(credentials.required)
        optional = {
            self._variable(end): argument
            for end, argument in credentials.optional.items()
            if environ.get(self._variable(end))
        }
        host = exposed_host(url, foreign_session=foreign_session)
        try:
            auth = credentials.auth(
                *[environ[variable] for variable in required],
                **{argument: environ[variable] for variable, argument in optional.items()},
            )
            endpoint = Endpoint(url, auth=auth, allow_http=allow_http and bool(host))
            check_resolver(endpoint, foreign_session=foreign_session)
        except ConfigurationError as error:
            hint = f"; {_ALLOW_HTTP}=1 permits plain http" if host and not allow_http else ""
            read = ", ".join([*required, self.url, *optional])
            raise ConfigurationError(f"{error} (from {read}{hint})") from None
        return endpoint

    def _with_options(
        self, endpoint: Endpoint, options: EndpointOptions, *, foreign_session: bool
    ) -> Endpoint:
        if not options:
            return endpoint
        try:
            changed = evolve(endpoint, **options)
            check_resolver(changed, foreign_session=foreign_session)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error} (for {self.name})") from None
        return changed

    def _missing(self, *variables: str) -> ConfigurationError:
        return ConfigurationError(f"{' and '.join(variables)} must be set too, to use {self.name}")

    def _all(self, ends: Iterable[str]) -> list[str]:
        return [self._variable(end) for end in ends]

    def _variable(self, end: str) -> str:
        return f"VCLOUD_{self.name.upper()}_{end}"


def read_endpoints(
    variables: Iterable[Variables],
    environ: Mapping[str, str] | None,
    options: Mapping[str, EndpointOptions],
    foreign_session: bool,  # noqa: FBT001 - all that call it give it
) -> dict[str, Endpoint]:
    """The endpoints of the providers whose credentials are set, by the provider's name.

    Args:
        variables: of the providers.
        environ: the variables; None: those of the process.
        options: of the endpoints, by the provider's name. A provider may have none.
        foreign_session: the user's own ``client_session`` resolves names.

    Raises:
        ConfigurationError: a variable is missing, or a variable or an option has an invalid value.
    """
    environ = os.environ if environ is None else environ
    if not isinstance(environ, Mapping):
        raise ConfigurationError(
            f"environ must be a mapping such as os.environ, not {type(environ).__name__}"
        )
    permitted = allows_http(environ)
    found: dict[str, Endpoint] = {}
    for one in variables:
        chosen = options.get(one.name, {})
        endpoint = one.endpoint(
            environ, chosen, allow_http=permitted, foreign_session=foreign_session
        )
        if endpoint is not None:
            found[one.name] = endpoint
    by_variable = {
        name: endpoint
        for name, endpoint in found.items()
        if "allow_http" not in options.get(name, {})
    }
    warn_of_http(by_variable, foreign_session=foreign_session)
    return trusting(found, environ)


def merged_options(
    name: str, everywhere: EndpointOptions, own: EndpointOptions | None
) -> EndpointOptions:
    """The options of a provider: those of all, replaced by its own.

    Raises:
        ConfigurationError: its own are no dict, or there is no such option.
    """
    if own is None:
        return everywhere
    if not isinstance(own, Mapping):
        raise ConfigurationError(
            f"{name} must be a dict of options such as {{'timeout': 5}}, not "
            f"{type(own).__name__}; an Endpoint is an argument of VCloud(...)"
        )
    check_options(name, own, instead=FROM_ENV)
    return {**everywhere, **own}


def allows_http(environ: Mapping[str, str]) -> bool:
    """Whether the environment permits plain http to other machines.

    Raises:
        ConfigurationError: the variable is neither 1 nor 0. To guess at another value could send
            credentials in clear text, or fail without a reason.
    """
    value = environ.get(_ALLOW_HTTP) or "0"
    if value not in ("0", "1"):
        raise ConfigurationError(
            f"{_ALLOW_HTTP} must be 1, which permits plain http, or 0, not {value[:20]!r}"
        )
    return value == "1"


def exposed_host(url: str | None, *, foreign_session: bool) -> str:
    """The host to which credentials would be sent in clear text; "" for https and this machine.

    Args:
        url: of the environment.
        foreign_session: the user's own session resolves names, so ``localhost`` may be another
            machine.
    """
    try:
        parts = urlsplit((url or "").strip())
        host = parts.hostname or ""
    except ValueError:
        return ""  # Endpoint reports it
    is_here = is_loopback(host) and not (foreign_session and is_localhost(host))
    return "" if is_here or parts.scheme != "http" else host


def warn_of_http(endpoints: Mapping[str, Endpoint], *, foreign_session: bool) -> None:
    """Log one warning with all hosts to which credentials are sent in clear text."""
    hosts: dict[str, list[str]] = {}
    for name, endpoint in endpoints.items():
        if host := exposed_host(endpoint.base_url, foreign_session=foreign_session):
            hosts.setdefault(host, []).append(name)
    if hosts:
        # Not at the top of the module: `import vcloud` must not load logging.
        from vcloud._core.log import printable_logger  # noqa: PLC0415

        printable_logger("vcloud").warning(
            "%s=1: credentials are sent unencrypted over plain http to %s",
            _ALLOW_HTTP,
            ", ".join(f"{host} ({', '.join(names)})" for host, names in hosts.items()),
        )


def trusting(endpoints: Mapping[str, Endpoint], environ: Mapping[str, str]) -> dict[str, Endpoint]:
    """The endpoints; those whose address is from the environment also trust its authority.

    Where an option decides what is trusted (``ssl``, ``verify``), that counts.

    Raises:
        ConfigurationError: the file of the authority cannot be used.
    """
    path = environ.get(_CA_FILE)
    if not path:
        return dict(endpoints)
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        raise ConfigurationError(
            f"{_CA_FILE} must name a file of certificates in PEM: {path!r:.200}: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from None
    return {
        name: evolve(endpoint, ssl=context)
        if endpoint.base_url and endpoint.ssl is None and endpoint.verify
        else endpoint
        for name, endpoint in endpoints.items()
    }
