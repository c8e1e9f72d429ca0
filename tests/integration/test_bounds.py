"""Limits of pages, attempts, waits and redirects, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from tests.integration.framed_answers import AUTH, framed
from tests.integration.raw_http import head
from tests.integration.raw_http import serving as raw_serving
from vcloud import (
    APIError,
    ConfigurationError,
    Desktops,
    Endpoint,
    LimitExceededError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    VagonComputers,
)
from vcloud.emulator import Emulator, Fault


def test_an_invalid_limit_is_refused() -> None:
    for name in ("max_response", "max_message", "max_pages"):
        Endpoint(auth=AUTH, **cast("Any", {name: 1}))
        for value in (0, -1, 1.5, True, None, "1"):
            with pytest.raises(ConfigurationError, match=f"{name} must be a whole number"):
                Endpoint(auth=AUTH, **{name: cast("Any", value)})


def test_the_readme_has_the_defaults() -> None:
    table = (
        (Path(__file__).parents[2] / "README.md")
        .read_text(encoding="utf-8")
        .partition("## Bounds")[2]
        .partition("\n## ")[0]
    )
    said = re.findall(r"(Endpoint|RetryPolicy)\((.*?)\)`", table)
    assert len(said) == 11
    for kind, settings in said:
        made = Endpoint(auth=AUTH) if kind == "Endpoint" else RetryPolicy()
        for setting in settings.split(", "):
            name, _, value = setting.partition("=")
            assert repr(getattr(made, name)) == value, setting


def _vagon_pages(number: int, last: int | None) -> dict[str, Any]:
    session = {
        "id": f"s{number}",
        "type": "session",
        "attributes": {
            "start_at": "2026-01-23T11:02:41.902Z",
            "region": "dublin",
            "application_name": "a",
            "application_id": 1,
            "stream_id": 1,
            "stream_name": "s",
            "machine_type": "m",
        },
    }
    return {
        "sessions": [session],
        "client_code": 200,
        "page": number,
        "next_page": None if number == last else number + 1,
    }


async def test_a_list_may_have_max_pages_and_a_longer_one_ends_with_an_error() -> None:
    from vcloud.providers.streams import VagonStreams

    asked: list[int] = []
    last: int | None = 5

    async def pages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = await head(reader)
            asked.append(int(line.split(b"page=")[1].split(b" ")[0].split(b"&")[0]))
            body = json.dumps(_vagon_pages(asked[-1], last)).encode()
            writer.write(framed(body, "length"))
            await writer.drain()

    async with (
        raw_serving(pages) as url,
        VagonStreams(Endpoint(url, auth=AUTH, max_pages=5)) as cloud,
    ):
        assert len(await cloud.sessions.list().all()) == 5
        last = None
        asked.clear()
        for pager in (cloud.sessions.list(), cloud.sessions.list().prefetch(8)):
            got = []
            iterator = pager.pages()
            with pytest.raises(
                LimitExceededError, match=r"continues after 5 pages.*max_pages.*begin with page 6"
            ):
                got += [page.number async for page in iterator]
            assert asked == [1, 2, 3, 4, 5], "and no sixth one"
            with pytest.raises(LimitExceededError, match="max_pages"):
                await anext(iterator)
            assert iterator.number == 6
            asked.clear()
        assert (await anext(cloud.sessions.list(page=6).pages())).number == 6


@pytest.mark.parametrize("ahead", [0, 8])
async def test_prefetching_stops_at_the_limit_too(ahead: int) -> None:
    async with Emulator(machines=30) as emulator:
        found = emulator.endpoints()["computers"]
        assert found.base_url is not None
        for bound, fits in ((15, True), (14, False)):
            before = len(emulator.calls)
            async with VagonComputers(
                Endpoint(found.base_url, auth=found.auth, max_pages=bound)
            ) as cloud:
                pager = cloud.machines.list(per_page=2)
                pages = (pager.prefetch(ahead) if ahead else pager).pages()
                if fits:
                    assert len([page async for page in pages]) == 15
                else:
                    with pytest.raises(LimitExceededError, match="max_pages"):
                        [page async for page in pages]
            assert len(emulator.calls) - before == bound


@pytest.mark.parametrize("failures", [2, 3])
async def test_a_request_has_as_many_attempts_as_the_policy_and_no_more(failures: int) -> None:
    async with Emulator(machines=1) as emulator:
        found = emulator.endpoints()["computers"]
        assert found.base_url is not None
        emulator.faults.add("GET *", Fault.server_error(500), failures)
        retry = RetryPolicy(attempts=3, base=0)
        async with VagonComputers(Endpoint(found.base_url, auth=found.auth, retry=retry)) as cloud:
            if failures < 3:
                assert await cloud.machines.list().first()
            else:
                with pytest.raises(ServerError):
                    await cloud.machines.list().first()
        assert len(emulator.calls) == 3


@pytest.mark.parametrize(("asked", "waits"), [(0.02, True), (0.021, False), (10**9, False)])
async def test_a_retry_after_up_to_max_retry_after_is_waited_for_and_a_longer_one_is_not(
    asked: float, waits: bool
) -> None:
    async with Emulator(machines=1) as emulator:
        found = emulator.endpoints()["computers"]
        assert found.base_url is not None
        emulator.faults.add("GET *", Fault.too_many(asked, "milliseconds"))
        retry = RetryPolicy(base=0, max_retry_after=0.02)
        async with VagonComputers(Endpoint(found.base_url, auth=found.auth, retry=retry)) as cloud:
            if waits:
                assert await cloud.machines.list().first()
            else:
                with pytest.raises(RateLimitError) as caught:
                    await cloud.machines.list().first()
                assert caught.value.retry_after is not None
                assert caught.value.retry_after >= asked * 0.999
                assert (
                    "longer than max_retry_after of the RetryPolicy allows"
                    in caught.value.__notes__[0]
                )
        assert len(emulator.calls) == (2 if waits else 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_not_even_to_the_same_host(status: int) -> None:
    async with (
        Emulator() as emulator,
        Desktops(emulator.endpoints()["desktops"]) as cloud,
    ):
        await cloud.launch()
        emulator.faults.add("POST *", Fault.redirect("/v1/desktop", status))
        with pytest.raises(APIError, match="redirects to .*/v1/desktop") as caught:
            await cloud.launch()
        assert caught.value.status == status
        assert len(emulator.calls) == 2
