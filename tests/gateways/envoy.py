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
#: What a route does besides passing on. Envoy repeats nothing when nobody says so.
_ROUTES: Final[Mapping[Setup, Json]] = {
    Setup.HASTY: {"timeout": f"{IDLE}s", "idle_timeout": f"{IDLE}s"},
    Setup.EAGER: {"retry_policy": {**_RETRIES, "retry_on": "5xx"}},
    Setup.STUBBORN: {"retry_policy": {**_RETRIES, "retry_on": "reset,connect-failure"}},
    Setup.ADVISED: {"retry_policy": {**_RETRIES, "retry_on": "connect-failure,refused-stream"}},
}


def configuration(plan: Plan) -> str:
    """What goes into the file; JSON is YAML."""
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
    route: Json = {
        "cluster": "full" if setup is Setup.FULL else "service",
        **_ROUTES.get(setup, {}),
    }
    manager: Json = {
        _TYPE: _MANAGER,
        "stat_prefix": setup,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [*([_LIMIT] if setup is Setup.LIMITED else []), _ROUTER],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": setup,
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": f"{PREFIX}/"},
                            "route": {**route, "prefix_rewrite": "/"},
                        },
                        {"match": {"prefix": "/"}, "route": route},
                    ],
                }
            ]
        },
    }
    if setup is Setup.HASTY:
        manager["common_http_protocol_options"] = {"idle_timeout": f"{IDLE}s"}
        manager["stream_idle_timeout"] = f"{IDLE}s"
    file = {"filename": str(plan.certificate)}
    certificate = {"certificate_chain": file, "private_key": file}
    return {
        "name": setup,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ],
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        _TYPE: _TLS,
                        "common_tls_context": {"tls_certificates": [certificate]},
                    },
                },
            }
        ],
    }
