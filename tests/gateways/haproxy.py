"""The configuration of HAProxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.gateways.setups import IDLE, PREFIX, RATE, Plan, Setup

#: Lines of the frontend, and of the backend.
_FRONTEND: Final[Mapping[Setup, str]] = {
    Setup.SHORT_TIMEOUTS: f"""
    timeout client {IDLE}s
    timeout http-keep-alive {IDLE}s""",
    Setup.LIMITED: f"""
    stick-table type integer size 1 expire 10s store http_req_rate(500ms)
    http-request track-sc0 dst_port
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {RATE} }}""",
}
_BACKEND: Final[Mapping[Setup, str]] = {
    Setup.SHORT_TIMEOUTS: f"""
    timeout server {IDLE}s
    timeout tunnel {IDLE}s""",
    Setup.RETRIES_ALL: f"""
    timeout server {IDLE}s
    retry-on all-retryable-errors""",
    Setup.RETRIES_UNANSWERED: f"""
    timeout server {IDLE}s
    retry-on conn-failure empty-response response-timeout""",
    Setup.ADVISED: """
    retry-on conn-failure empty-response response-timeout
    http-request disable-l7-retry unless { method GET HEAD PUT DELETE }""",
    Setup.FULL: """
    timeout queue 100ms""",
    Setup.UNBUFFERED: """
    option http-no-delay""",
}


def configuration(plan: Plan) -> str:
    """The text of haproxy.cfg, with the default timeouts of Debian's package."""
    sections = "".join(_sections(plan, setup, port) for setup, port in plan.ports.items())
    return f"""
global
    maxconn 1000
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
defaults
    mode http
    timeout connect 5000
    timeout client  50000
    timeout server  50000
    option redispatch
{sections}"""


def _sections(plan: Plan, setup: Setup, port: int) -> str:
    most = " maxconn 1" if setup is Setup.FULL else ""
    # With a limit of one connection there is only one server.
    names = ["a"] if most else ["a", "b"]
    servers = "".join(f"\n    server {name} 127.0.0.1:{plan.upstream}{most}" for name in names)
    return f"""
frontend {setup}
    bind 127.0.0.1:{port} ssl crt {plan.certificate}{_FRONTEND.get(setup, "")}
    default_backend {setup}
backend {setup}{_BACKEND.get(setup, "")}
    http-request replace-path {PREFIX}(/.*) \\1
{servers}
"""
