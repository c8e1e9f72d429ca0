"""The configuration of nginx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.gateways.setups import IDLE, PREFIX, RATE, Plan, Setup

_SHORT_TIMEOUTS: Final = f"""
            proxy_read_timeout {IDLE}s;
            proxy_send_timeout {IDLE}s;
            keepalive_timeout {IDLE}s;
            client_header_timeout {IDLE}s;
            client_body_timeout {IDLE}s;"""
_RETRIES_ALL: Final = f"""
            proxy_read_timeout {IDLE}s;
            proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;"""
_RETRIES_UNANSWERED: Final = f"""
            proxy_read_timeout {IDLE}s;
            proxy_next_upstream error timeout non_idempotent;"""
_SETTINGS: Final[Mapping[Setup, str]] = {
    Setup.PLAIN: "",
    Setup.SHORT_TIMEOUTS: _SHORT_TIMEOUTS,
    Setup.RETRIES_ALL: _RETRIES_ALL,
    Setup.RETRIES_UNANSWERED: _RETRIES_UNANSWERED,
    Setup.ADVISED: "",
    Setup.LIMITED: """
            limit_req zone=requests;
            limit_req_status 429;""",
    Setup.FULL: """
            limit_conn connections 1;""",
    Setup.UNBUFFERED: """
            proxy_buffering off;
            proxy_request_buffering off;""",
}
#: With a single server, nginx cannot retry a request on another one.
_UPSTREAM: Final = {Setup.SHORT_TIMEOUTS: "one", Setup.UNBUFFERED: "one"}


def configuration(plan: Plan) -> str:
    """The text of nginx.conf.

    One process, because the workers of a master that root starts could not read the directory.
    """
    server = f"server 127.0.0.1:{plan.upstream}"
    temporary = "".join(
        f"\n    {kind}_temp_path {plan.directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    servers = "".join(_server(plan, setup, port) for setup, port in plan.ports.items())
    return f"""
daemon off;
master_process off;
pid {plan.directory}/nginx.pid;
error_log {plan.directory}/error.log;
events {{ worker_connections 768; }}
http {{
    access_log {plan.directory}/access.log;{temporary}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    limit_req_zone $server_port zone=requests:1m rate={RATE}r/s;
    limit_conn_zone $server_port zone=connections:1m;
    upstream one {{ {server}; keepalive 8; }}
    upstream two {{ {server} max_fails=0; {server} max_fails=0; keepalive 8; }}
{servers}
}}
"""


def _server(plan: Plan, setup: Setup, port: int) -> str:
    upstream = _UPSTREAM.get(setup, "two")
    return f"""
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {plan.certificate};
        ssl_certificate_key {plan.certificate};
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;{_SETTINGS[setup]}
        location / {{ proxy_pass http://{upstream}; }}
        location {PREFIX}/ {{ proxy_pass http://{upstream}/; }}
    }}
"""
