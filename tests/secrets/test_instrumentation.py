"""OpenTelemetry's instrumentation of aiohttp records URLs, but none with a token in it."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from vcloud import VCloud
from vcloud.emulator import Emulator


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = AioHttpClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield exporter
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


@pytest.mark.parametrize("own_session", [False, True])
async def test_a_token_in_a_query_reaches_no_span(
    spans: InMemorySpanExporter, own_session: bool
) -> None:
    async with Emulator(speed=200) as emulator, aiohttp.ClientSession() as session:
        given = session if own_session else None
        async with VCloud(**emulator.endpoints(), client_session=given) as cloud:
            desktop = await cloud.streamspace.sessions.create(
                user="admin", template="firefox-browser"
            )
            await desktop.wait_until("running", poll=0.05)
            async with desktop.open_vnc() as tunnel:
                assert await tunnel.read()
    recorded = [str(dict(span.attributes or {})) for span in spans.get_finished_spans()]
    assert any("/api/v1/sessions" in one for one in recorded), "the instrumentation is on"
    assert not any("token=" in one or "eyJ" in one for one in recorded)


async def test_a_trace_config_of_the_users_own_session_sees_no_token() -> None:
    seen: list[str] = []

    async def note(
        session: aiohttp.ClientSession, context: object, params: aiohttp.TraceRequestStartParams
    ) -> None:
        seen.append(str(params.url))

    config = aiohttp.TraceConfig()
    config.on_request_start.append(note)
    async with (
        Emulator(speed=200) as emulator,
        aiohttp.ClientSession(trace_configs=[config]) as session,
        VCloud(**emulator.endpoints(), client_session=session) as cloud,
    ):
        desktop = await cloud.streamspace.sessions.create(user="admin", template="firefox-browser")
        await desktop.wait_until("running", poll=0.05)
        async with desktop.open_vnc() as tunnel:
            assert await tunnel.read()
    assert any("/sessions" in url for url in seen)
    assert not any("token=" in url for url in seen)
