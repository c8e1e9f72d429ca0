"""`python -m vcloud.emulator`: serve the emulated APIs to any program until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Sequence

from vcloud.emulator.admin.routes import PREFIX, TOKEN_HEADER
from vcloud.emulator.credentials import Credentials
from vcloud.emulator.faults.named import HEADER, NAMES
from vcloud.emulator.server import Emulator
from vcloud.emulator.services import BALANCE, DIALECTS

_EPILOG = f"""\
Faults, for the error paths of your program:
  The header `{HEADER}: too_many; retry_after=2; form=date` applies that fault to its request.
  Values are JSON or plain text. For requests to which you cannot add a header, add a rule:
    curl -H 'Content-Type: application/json' URL{PREFIX}/faults -d \\
      '{{"route": "POST */machines", "fault": "reset_after", "times": 1, "skip": 2,
        "every": 1, "probability": 1}}'
  GET URL{PREFIX} lists all faults with their arguments, and the routes: the rules, the calls so
  far, the clock, the account, visitors and their visits, refusing connections for a while, and
  the other host of redirects. They are at every address at which the emulator is served. Where
  it serves real desktops, they and the header need VCLOUD_EMULATOR_TOKEN, which it prints, in
  `{TOKEN_HEADER}`.
  Faults: {", ".join(NAMES)}.
"""
_EVERY_ADDRESS = ("0.0.0.0:", "[::]:")
KEEP_CALLS = 10_000
"""Calls that are kept by default, so that memory stays bounded over weeks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and serve; the exit status."""
    options = _parser().parse_args(argv)
    try:
        credentials, taken = Credentials.drawn(options.seed).given(os.environ)
        emulator = Emulator(
            machines=options.machines,
            host=options.host,
            port=options.port,
            speed=options.speed,
            allow_remote=options.allow_remote,
            rate_limits=not options.no_rate_limits,
            backend=options.backend,
            allow_exec=options.allow_exec,
            fault_seed=options.fault_seed,
            keep_calls=options.keep_calls or None,
            balance=options.balance,
            default_region=options.default_region,
            visitors=options.visitors,
            tls=options.tls,
            tls_names=options.tls_names,
            allow_hosts=options.allow_hosts,
            seed=options.seed,
            credentials=credentials,
            streamspace=options.streamspace,
        )
        asyncio.run(_serve(emulator, taken))
    except (ValueError, OverflowError, OSError, ModuleNotFoundError) as error:
        sys.stderr.write(f"vcloud.emulator: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vcloud.emulator",
        description=__doc__,
        epilog=_EPILOG,
        # The epilog has lines to copy, so its line breaks are kept.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="0 picks a free one (default: %(default)s)"
    )
    parser.add_argument("--machines", type=int, default=20, help="computers at the start")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds in a real one")
    parser.add_argument(
        "--no-rate-limits", action="store_true", help="lift the limits that StreamSpace documents"
    )
    parser.add_argument(
        "--streamspace",
        choices=DIALECTS,
        default=DIALECTS[0],
        help="StreamSpace as its document says, or as its published server answers "
        "(default: %(default)s)",
    )
    _add_backend(parser)
    _add_faults(parser)
    _add_access(parser)
    _add_tls(parser)
    _add_account(parser)
    return parser


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=("simulated", "x11"),
        default="simulated",
        help="what desktops run on: memory, or a real X display each (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-exec", action="store_true", help="allow x11, which runs commands on this machine"
    )


def _add_faults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fault-seed",
        type=int,
        default=0,
        help="decides to which requests a fault with a probability applies",
    )
    parser.add_argument(
        "--keep-calls",
        type=int,
        default=KEEP_CALLS,
        metavar="N",
        help="how many of the last calls are kept; 0 keeps all (default: %(default)s)",
    )


def _add_access(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow a --host that is not loopback, and requests to any address; "
        "prints VCLOUD_ALLOW_HTTP=1, too",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        dest="allow_hosts",
        metavar="NAME",
        help="answer requests to this name too, and web pages of it; may be repeated "
        "(in a Compose file: the service's name)",
    )
    parser.add_argument(
        "--seed",
        help="draw keys, tokens, passwords and UUIDs from this: the same each time, and unsafe, "
        "because anyone who knows it has every key (default: they cannot be guessed)",
    )


def _add_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tls",
        action="store_true",
        help="serve https and wss; clients verify with the file in VCLOUD_CA_FILE, "
        "which is printed (needs vcloud-sdk[tls])",
    )
    parser.add_argument(
        "--tls-name",
        action="append",
        default=[],
        dest="tls_names",
        metavar="NAME",
        help="a name or address for the certificate, besides loopback and --host; may be repeated",
    )


def _add_account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--balance",
        default=str(BALANCE),
        metavar="AMOUNT",
        help="what the Vagon organisation has to spend (default: %(default)s)",
    )
    parser.add_argument(
        "--default-region",
        metavar="REGION",
        help="where computers are bought when a request names no region (default: it must)",
    )
    parser.add_argument(
        "--visitors",
        nargs="+",
        default=(),
        metavar="EMAIL",
        help='registered visitors of Streams; "" for one without an email address',
    )


async def _serve(emulator: Emulator, taken: Sequence[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # signal.signal works on every platform; the loop's own handlers do not.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with emulator:
        sys.stdout.write(f"# {emulator.url}\n")
        if any(emulator.url.partition("://")[2].startswith(every) for every in _EVERY_ADDRESS):
            sys.stdout.write(
                "# That is every address of this machine: elsewhere, write one of them instead.\n"
            )
        if taken:
            # Not printed: they may belong to a real account, and the environment has them.
            sys.stdout.write(f"# As set in this environment:  {', '.join(taken)}\n")
        for name, value in emulator.env().items():
            if name in taken:
                continue
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
