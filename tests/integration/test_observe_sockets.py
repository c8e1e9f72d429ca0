"""Observers over real sockets: what they get, and that no secret is in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.seeded import ADMIN_PASSWORD, KEY, SECRET, SEED
from vcloud import (
    APIKeyAuth,
    Attempt,
    AuthenticationError,
    BearerAuth,
    Endpoint,
    HMACAuth,
    Observer,
    Queued,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault
from vcloud.opentelemetry import OpenTelemetry


class Diary(Observer):
    def __init__(self) -> None:
        self.words: list[str] = []
        self.ended_attempts: list[Attempt] = []

    def queued(self, event: Queued) -> None:
        self.words.append(f"{event!r} {event.url}")

    def started(self, attempt: Attempt) -> None:
        self.words.append(f"{attempt!r} {attempt.url}")

    def ended(self, attempt: Attempt) -> None:
        self.words.append(
            f"{attempt!r} {attempt.url} {attempt.error} {getattr(attempt.error, '__notes__', '')}"
        )
        self.ended_attempts.append(attempt)

    def retried(self, attempt: Attempt) -> None:
        self.words.append(repr(attempt))

    @property
    def seen(self) -> list[tuple[str, int | None]]:
        return [(attempt.operation, attempt.status) for attempt in self.ended_attempts]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(machines=3, speed=200, rate_limits=False, seed=SEED) as emulator:
        yield emulator


async def test_requests_logins_repeats_and_upgrades_are_all_seen(emulator: Emulator) -> None:
    diary = Diary()
    async with VCloud(**emulator.endpoints(), observers=[diary]) as cloud:
        await cloud.computers.machines.ref("100").refresh()
        emulator.faults.add("GET *", Fault.server_error(503))
        session = await cloud.streamspace.sessions.create(user="admin", template="firefox-browser")
        session = await session.wait_until("running", poll=0.01)
        async with session.open_vnc() as tunnel:
            await tunnel.read()
    assert diary.seen[:5] == [
        ("GET /machines/{id}", 200),
        ("POST /auth/login", 200),
        ("POST /sessions", 202),
        ("GET /sessions/{id}", 503),
        ("GET /sessions/{id}", 200),
    ]
    assert diary.seen[-1] == ("GET /vnc-viewer/{id}", 101)
    assert [attempt.number for attempt in diary.ended_attempts][3:5] == [1, 2]
    assert diary.ended_attempts[-1].url == f"{emulator.url}/vnc-viewer/{{id}}"


async def test_a_cancelled_request_ends_and_nothing_stays_open(emulator: Emulator) -> None:
    everybody = asyncio.Event()

    class Counting(Diary):
        def started(self, attempt: Attempt) -> None:
            super().started(attempt)
            if len(self.words) == 20:
                everybody.set()

    exporter, tracers = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    diary, telemetry = Counting(), OpenTelemetry(tracers)
    emulator.faults.add("GET *", Fault.stall_headers(60), times=None)
    async with VCloud(**emulator.endpoints(), observers=[diary, telemetry]) as cloud:
        tasks = [
            asyncio.create_task(cloud.computers.machines.ref("100").refresh()) for _ in range(20)
        ]
        await everybody.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(attempt.error) for attempt in diary.ended_attempts] == [
        asyncio.CancelledError
    ] * 20
    assert len(exporter.get_finished_spans()) == 20


async def test_each_task_s_spans_are_children_of_its_own(emulator: Emulator) -> None:
    exporter, tracers = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = tracers.get_tracer("test")
    emulator.faults.add("GET */machines/*", Fault.server_error(503), times=3)

    async def visit(id: str) -> None:
        with tracer.start_as_current_span(id):
            await cloud.computers.machines.ref(id).refresh()

    async with VCloud(**emulator.endpoints(), observers=[OpenTelemetry(tracers)]) as cloud:
        await asyncio.gather(*(visit(id) for id in ("100", "101", "102")))
    spans = exporter.get_finished_spans()
    outer = {span.name: span for span in spans if span.name.isdigit()}
    inner = [span for span in spans if not span.name.isdigit()]
    assert len(inner) == 6
    for span in inner:
        assert span.parent is not None
        assert span.attributes is not None
        mine = outer[str(span.attributes["url.full"]).rpartition("/")[2]]
        assert span.parent.span_id == mine.context.span_id
        assert span.context.trace_id == mine.context.trace_id


async def test_no_secret_reaches_an_observer_the_log_a_span_or_a_metric(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vcloud")
    diary, exporter, reader = Diary(), InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    endpoints = emulator.endpoints()
    keys = endpoints["desktops"].auth.headers(None, "", now=0, nonce="")  # type: ignore[arg-type]
    secrets = {KEY, SECRET, ADMIN_PASSWORD, *keys.values()}
    observers: list[Observer] = [diary, OpenTelemetry(tracers, meters)]

    async with VCloud(**endpoints, observers=observers) as cloud:
        secrets |= await _successes(cloud)
    await _refusals(emulator, observers)
    await _broken_answers(emulator, observers)

    spans = exporter.get_finished_spans()
    metrics = reader.get_metrics_data()
    assert metrics is not None
    heard = [*diary.words, caplog.text, *(span.to_json() for span in spans)]
    everything = "\n".join([*heard, metrics.to_json()])
    assert {attempt.provider for attempt in diary.ended_attempts} == set(endpoints)
    # A line for each attempt; on a slow machine the log may also say that calls wait.
    lines = [record for record in caplog.records if record.levelno == logging.DEBUG]
    assert len(lines) == len(diary.ended_attempts) == len(spans)
    for secret in secrets:
        assert secret, "a secret to look for"
        assert secret not in everything


async def _successes(cloud: VCloud) -> set[str]:
    """Requests and answers with secrets, which are returned."""
    secrets = {"canary"}
    machine = cloud.computers.machines.ref("100")
    await machine.start()
    machine = await machine.wait_until("ready", poll=0.01)
    secrets.add((await machine.create_access_link(timedelta(hours=1))).connection_link)

    application = await cloud.streams.applications.list().first()
    assert application is not None
    stream = await cloud.streams.streams.list(application.id).first()
    assert stream is not None
    await stream.configure(password="canary-of-the-stream")
    visitor = await cloud.streams.users.create(email="canary@example.com")
    assignment = await stream.connect("dublin", visitor, poll=0.01)
    await assignment.machine.refresh()
    secrets |= {assignment.connection_link, str(assignment.machine.uid)}

    session = await cloud.streamspace.sessions.create(user="admin", template="firefox-browser")
    session = await session.wait_until("running", poll=0.01)
    secrets.add((await session.connect_url()).rpartition("token=")[2])
    async with session.open_vnc() as tunnel:
        await tunnel.read()
    await cloud.streamspace.users.create(
        username="eve", email="eve@example.com", password="canary-of-eve"
    )
    await cloud.streamspace.login("admin", ADMIN_PASSWORD)

    async with cloud.desktops.launch(lifetime=timedelta(hours=1)) as desktop:
        await desktop.type("canary-typed")
        await desktop.bash("echo canary-of-bash")
        secrets.add(str((await desktop.refresh()).stream_url))
    return secrets


async def _refusals(emulator: Emulator, observers: list[Observer]) -> None:
    """Requests with wrong credentials."""
    endpoints = emulator.endpoints()
    wrong = HMACAuth("ak_wrong", "sk_canary")
    async with VCloud(
        computers=Endpoint(endpoints["computers"].base_url, auth=wrong),
        streams=Endpoint(endpoints["streams"].base_url, auth=wrong),
        streamspace=Endpoint(
            endpoints["streamspace"].base_url, auth=BearerAuth.login("admin", "canary-password")
        ),
        desktops=Endpoint(endpoints["desktops"].base_url, auth=APIKeyAuth("canary-key")),
        observers=observers,
    ) as cloud:
        for call in (
            cloud.computers.machines.list().first(),
            cloud.streams.applications.list().first(),
            cloud.streamspace.agents.stats(),
            cloud.desktops.get("a"),
        ):
            with pytest.raises(AuthenticationError):
                await call


async def _broken_answers(emulator: Emulator, observers: list[Observer]) -> None:
    """Answers that cannot be decoded, to requests that carry secrets."""
    emulator.faults.add("*", Fault.invalid_json(), times=None)
    async with VCloud(**emulator.endpoints(), observers=observers) as cloud:
        for call in (
            cloud.computers.machines.ref("100").create_access_link(timedelta(hours=1)),
            cloud.streams.streams.ref("1").configure(password="canary-of-a-failure"),
            cloud.streamspace.agents.stats(),
            cloud.desktops.ref("a").bash("echo canary-of-a-failure"),
        ):
            with pytest.raises(VCloudError):
                await call
