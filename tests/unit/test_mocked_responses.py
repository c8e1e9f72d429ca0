"""aioresponses in the tests of who uses vcloud: their own import says what to write instead."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import aioresponses as original
import pytest

from vcloud import ConfigurationError, Endpoint, HMACAuth, NotFoundError, VagonComputers
from vcloud.testing.aioresponses import CallbackResult, aioresponses

MACHINES = "https://api.vagon.io/organization-management/v1/machines"
MACHINE = {"client_code": 200, "id": "100", "type": "machine", "attributes": {"name": "Ann"}}
BROKEN = "stream_writer" not in inspect.getsource(original.core)


@pytest.fixture
async def computers() -> AsyncIterator[VagonComputers]:
    async with VagonComputers(Endpoint(auth=HMACAuth("ak_test_1", "sk_test_1"))) as computers:
        yield computers


@pytest.mark.skipif(not BROKEN, reason="this aioresponses works with this aiohttp")
async def test_the_first_guess_says_what_to_import(computers: VagonComputers) -> None:
    with original.aioresponses() as mocked:
        mocked.get(f"{MACHINES}/100", payload=MACHINE)
        with pytest.raises(ConfigurationError) as caught:
            await computers.machines.get("100")
    assert "from vcloud.testing.aioresponses import aioresponses" in str(caught.value)
    assert f"aiohttp {aiohttp.__version__}" in str(caught.value)
    assert computers.stats().in_flight == 0


async def test_another_mistake_in_a_mock_stays_what_it_is(computers: VagonComputers) -> None:
    def broken(url: object, **_: object) -> None:
        raise TypeError("mine")

    with aioresponses() as mocked:
        mocked.get(f"{MACHINES}/100", callback=broken)
        with pytest.raises(TypeError, match="mine"):
            await computers.machines.get("100")
    assert computers.stats().in_flight == 0


async def test_answers_of_every_kind_arrive(computers: VagonComputers) -> None:
    class Loud(aiohttp.ClientResponse):
        pass

    async def asked(url: object, **_: object) -> CallbackResult:
        return CallbackResult(status=404, payload={"client_code": 404, "message": "gone"})

    with aioresponses() as mocked:
        mocked.get(f"{MACHINES}/100", payload=MACHINE, repeat=2)
        mocked.add(f"{MACHINES}/100", "GET", payload=MACHINE, response_class=Loud)
        mocked.get(f"{MACHINES}/100", callback=asked)
        for _ in range(3):
            assert (await computers.machines.get("100")).name == "Ann"
        with pytest.raises(NotFoundError, match="gone"):
            await computers.machines.get("100")
    assert len(mocked.requests) == 1


async def test_it_decorates_functions() -> None:
    @aioresponses()
    async def ask(mocked: aioresponses) -> str:
        mocked.get("http://example.com/", body="hello")
        async with aiohttp.ClientSession() as session, session.get("http://example.com/") as answer:
            assert type(answer).__name__ == "ClientResponse"
            return await answer.text()

    # The decorator supplies the argument.
    assert await ask() == "hello"  # type: ignore[call-arg]


def test_without_the_package_the_error_names_it() -> None:
    code = "import sys; sys.modules['aioresponses'] = None; import vcloud.testing.aioresponses"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.rstrip().endswith("needs the package aioresponses: pip install aioresponses")
