"""Tools that print the variables of frames print no secret: rich, typer, pytest, Sentry, cgitb."""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import json
import os
import pkgutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from rich.console import Console
from rich.traceback import Traceback
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

import vcloud.providers
from tests.secrets import mistakes
from tests.secrets.sniffing import CANARY, found_in, leaks_in, ways_to_show
from vcloud import APIKeyAuth, Endpoint, Response, VCloud
from vcloud._core.connections.options import TransportOptions
from vcloud._core.redaction.secretive import Credentials, concealing
from vcloud.auth.bearer import Token, login_request
from vcloud.providers.desktops import TypeText

SECRET = f"{CANARY}-0123456789-abcdef"
NAMES = [*mistakes.MISTAKES, *mistakes.CALLS]
#: Those that each tool prints; with `-m long` it prints all.
SOME = [
    "hmac_without_key",
    "environment_half_set",
    "good_proxy_bad_timeout",
    "own_auth",
    "user_twice",
]


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mistakes.VARIABLE, SECRET)
    for name in list(os.environ):
        if name.startswith("VCLOUD_"):
            monkeypatch.delenv(name)


def raised(make: Callable[[], object]) -> Exception:
    try:
        make()
    except Exception as error:
        return error
    pytest.fail("nothing was raised, so this shows nothing")


@functools.cache
def error_of(name: str) -> Exception:
    """What one of the mistakes raises; each is made once, for all the tools to look at."""
    return raised(lambda: mistakes.run(name))


@pytest.mark.parametrize("name", NAMES)
def test_no_frame_shows_a_secret(name: str) -> None:
    assert not leaks_in(error_of(name))


def test_an_object_with_a_secret_does_not_show_it() -> None:
    login = login_request("admin", SECRET)
    endpoint = Endpoint(auth=APIKeyAuth(SECRET), proxy=f"http://me:{SECRET}@host:1")
    wire = TransportOptions.of(
        base_url="https://host",
        timeout=1.0,
        connect_timeout=1.0,
        ssl=True,
        proxy=endpoint.proxy,
        max_response=1,
        max_message=1,
    )
    answer = Response(200, {"X-Echo": SECRET}, SECRET.encode())
    token = Token(Credentials(Authorization=SECRET))
    for one in (login, endpoint, wire, answer, token, token.headers, TypeText(SECRET)):
        for shown in ways_to_show(one):
            assert not found_in(shown, type(one).__name__)


# -- the tools themselves --------------------------------------------------------------------------


def with_rich(error: Exception) -> str:
    trace = Traceback.from_exception(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
        locals_max_string=500,
        width=500,
        extra_lines=0,
    )
    console = Console(file=io.StringIO(), record=True, width=500)
    console.print(trace)
    return console.export_text()


def with_traceback(error: Exception) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


class Captured(Transport):
    """Keeps what would be sent to Sentry."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent += [json.dumps(item.payload.json) for item in envelope.items]


def with_sentry(error: Exception) -> str:
    captured = Captured()
    client = sentry_sdk.Client(
        dsn="https://key@host.invalid/1",
        transport=captured,
        include_local_variables=True,
        # Its own hunt for secrets goes by the names of variables.
        event_scrubber=None,
        default_integrations=False,
        # Source lines around a frame are not variables.
        include_source_context=False,
        max_value_length=100_000,
    )
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        scope.capture_exception(error)
    client.close()
    return "\n".join(captured.sent)


def with_cgitb(error: Exception) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cgitb = importlib.import_module("cgitb")
        # With an error of no attributes: it fails at those of a TimeoutError.
        text: str = cgitb.text((Exception, Exception(), error.__traceback__), context=0)
    return text


TOOLS = [with_rich, with_traceback, with_sentry]
if sys.version_info < (3, 13):
    TOOLS.append(with_cgitb)


@pytest.mark.parametrize(
    "names", [SOME, pytest.param(NAMES, marks=pytest.mark.long)], ids=["some", "all"]
)
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_a_tool_shows_no_secret(tool: Callable[[Exception], str], names: list[str]) -> None:
    assert found_in(tool(raised(mistakes.a_frame_that_shows_it)), "for comparison")
    for name in names:
        said = tool(error_of(name))
        assert len(said) > 50
        assert not found_in(said, name)


def output(*command: str) -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env={
            **os.environ,
            "COLUMNS": "300",
            "TERMINAL_WIDTH": "300",
            "PYTHONPATH": str(root),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    return done.stdout


@pytest.mark.parametrize(
    "name",
    ["own_auth", *[pytest.param(name, marks=pytest.mark.long) for name in NAMES]],
)
def test_typer_shows_no_secret(name: str) -> None:
    said = output("-m", "tests.secrets.mistakes", name)
    assert "Traceback" in said
    assert "locals" in said
    assert not found_in(said, name)


def test_typer_does_not_show_a_secret_in_a_frame() -> None:
    assert found_in(output("-m", "tests.secrets.mistakes", "shown"), "for comparison")


@pytest.mark.parametrize(
    "names", [SOME, pytest.param(NAMES, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_pytest_with_local_variables_shows_no_secret(names: list[str], tmp_path: Path) -> None:
    file = tmp_path / "test_of_a_user.py"
    file.write_text(
        "import pytest\n"
        "from tests.secrets import mistakes\n"
        f"@pytest.mark.parametrize('name', {names!r})\n"
        "def test_mistake(name):\n"
        "    mistakes.run(name)\n"
        "def test_shown():\n"
        "    mistakes.a_frame_that_shows_it()\n"
    )
    options = ("-l", "-vv", "--tb=long", "-p", "no:cacheprovider", "-c", os.devnull)
    said = output("-m", "pytest", *options, str(file))
    assert f"{len(names) + 1} failed" in said
    before, _, shown = said.partition(" test_shown ")
    assert found_in(shown, "for comparison")
    assert "self       = " in before
    assert not found_in(before, "pytest -l")


# -- every public function that takes a secret -----------------------------------------------------

#: What arguments with secrets are called.
SECRET_NAMES = {"secret", "password", "token", "environ", "proxy", "store"}
#: What is called with what a service answered.
HARMLESS = {
    "vcloud.auth.bearer.BearerAuth.adopt",
    "vcloud.providers.streamspace.models.Login.__init__",
}


def public_functions() -> Iterator[tuple[str, Callable[..., object]]]:
    modules = [vcloud] + [
        importlib.import_module(found.name)
        for found in pkgutil.iter_modules(vcloud.providers.__path__, "vcloud.providers.")
    ]
    classes = {
        value
        for module in modules
        for name in getattr(module, "__all__", ())
        if isinstance(value := getattr(module, name), type)
    }
    for cls in sorted({base for one in classes for base in one.__mro__}, key=str):
        if not cls.__module__.startswith("vcloud."):
            continue
        for name, member in vars(cls).items():
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function) and (not name.startswith("_") or name == "__init__"):
                yield f"{cls.__module__}.{cls.__qualname__}.{name}", function


def test_every_public_function_that_takes_a_secret_conceals_it() -> None:
    made = {concealing(one).__code__ for one in (lambda: None, _coroutine)}
    takes = {
        name: function
        for name, function in public_functions()
        if SECRET_NAMES & set(inspect.signature(function).parameters)
    }
    assert len(takes) > 6
    bare = {name for name, function in takes.items() if function.__code__ not in made}
    assert bare == HARMLESS


async def _coroutine() -> None: ...


def test_the_error_that_a_caller_was_handling_keeps_its_frames() -> None:
    def fail() -> None:
        raise KeyError("the caller's")

    def handle() -> None:
        try:
            fail()
        except KeyError:
            mistakes.run("bearer_twice")

    handled = raised(handle).__context__
    assert isinstance(handled, KeyError)
    assert [frame.name for frame in traceback.extract_tb(handled.__traceback__)][-1] == "fail"


def test_an_error_of_the_users_code_keeps_the_frames_of_that_code() -> None:
    class Variables(dict[str, str]):
        def get(self, name: str, default: object = None) -> Any:
            return self.looked_up(name)

        def looked_up(self, name: str) -> Any:
            return json.loads("{" + name)

    error = raised(lambda: VCloud.from_env(Variables()))
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-6:-3] == ["concealed_at_once", "get", "looked_up"]


async def test_an_error_of_the_users_iterator_keeps_its_frames() -> None:
    def actions() -> Iterator[TypeText]:
        yield TypeText(SECRET)
        raise KeyError("the user's mistake")

    async with VCloud(desktops=Endpoint("http://127.0.0.1:9", auth=APIKeyAuth(SECRET))) as cloud:
        with pytest.raises(KeyError) as caught:
            await cloud.desktops.ref("d").perform_all(actions())
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "actions"
