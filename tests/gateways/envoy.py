"""The configuration of Envoy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tests.gateways.setups import IDLE, PREFIX, RATE, Plan, Setup

Json = dict[str, Any]

_TYPE: Final = "@type"
_HTTP: Final = "type.googleapis.com/envoy.extensions.filters.http"
_MANAGER: Final = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    ".HttpConnectionManager"
)
_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
_LIMIT: Final = {
    "name": "envoy.filters.http.local_ratelimit",
    "typed_config": {
        _TYPE: f"{_HTTP}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": {"max_tokens": RATE, "tokens_per_fill": RATE, "fill_interval": "1s"},
        "filter_enabled": {"default_value": {"numerator": 100}},
        "filter_enforced": {"default_value": {"numerator": 100}},
    },
}
_ROUTER: Final = {
    "name": "envoy.filters.http.router",
    "typed_config": {_TYPE: f"{_HTTP}.router.v3.Router"},
}
_RETRIES: Final = {"num_retries": 2, "per_try_timeout": f"{IDLE}s"}
#: Options of routes. By default Envoy retries nothing.
_ROUTES: Final[Mapping[Setup, Json]] = {
    Setup.SHORT_TIMEOUTS: {"timeout": f"{IDLE}s", "idle_timeout": f"{IDLE}s"},
    Setup.RETRIES_ALL: {"retry_policy": {**_RETRIES, "retry_on": "5xx"}},
    Setup.RETRIES_UNANSWERED: {"retry_policy": {**_RETRIES, "retry_on": "reset,connect-failure"}},
    Setup.ADVISED: {"retry_policy": {**_RETRIES, "retry_on": "connect-failure,refused-stream"}},
}


def configuration(plan: Plan) -> str:
    """The text of its file: JSON, which is YAML."""
    return json.dumps(
        {
            "static_resources": {
                "listeners": [_listener(plan, *each) for each in plan.ports.items()],
                "clusters": [_cluster(plan, "service"), _cluster(plan, "full", most=1)],
            }
        }
    )


def _cluster(plan: Plan, name: str, most: int | None = None) -> Json:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": plan.upstream}}
    cluster: Json = {
        "name": name,
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if most is not None:
        cluster["circuit_breakers"] = {"thresholds": [{"max_requests": most}]}
    return cluster


def _listener(plan: Plan, setup: Setup, port: int) -> Json:
    http = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": _connection_manager(setup),
    }
    return {
        "name": setup,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [http], "transport_socket": _tls(plan)}],
    }


def _connection_manager(setup: Setup) -> Json:
    manager: Json = {
        _TYPE: _MANAGER,
        "stat_prefix": setup,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [*([_LIMIT] if setup is Setup.LIMITED else []), _ROUTER],
        "route_config": {
            "virtual_hosts": [{"name": setup, "domains": ["*"], "routes": _routes(setup)}]
        },
    }
    if setup is Setup.SHORT_TIMEOUTS:
        manager["common_http_protocol_options"] = {"idle_timeout": f"{IDLE}s"}
        manager["stream_idle_timeout"] = f"{IDLE}s"
    return manager


def _routes(setup: Setup) -> list[Json]:
    route = {
        "cluster": "full" if setup is Setup.FULL else "service",
        **_ROUTES.get(setup, {}),
    }
    return [
        {"match": {"prefix": f"{PREFIX}/"}, "route": {**route, "prefix_rewrite": "/"}},
        {"match": {"prefix": "/"}, "route": route},
    ]


def _tls(plan: Plan) -> Json:
    file = {"filename": str(plan.certificate)}
    certificate = {"certificate_chain": file, "private_key": file}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            _TYPE: _TLS,
            "common_tls_context": {"tls_certificates": [certificate]},
        },
    }
