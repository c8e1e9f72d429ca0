"""Tokens in a real Redis, which is also paused, killed, emptied, and no Redis at all."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis import asyncio as redis_asyncio

from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.token_workers import all_call, logins, until, workers
from tests.leaks.nothing_held import wait_for_tasks
from tests.seeded import SEED
from tests.unit.auth_service import NOW, SECRETS, Service, bearer, refusal
from vcloud import BearerAuth, ConfigurationError, RedisTokenStore, Request
from vcloud.auth.token_store import sharing
from vcloud.emulator import Emulator, Fault

URL = "https://desktops.example/api/v1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(rate_limits=False, seed=SEED) as emulator:
        yield emulator


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vcloud.auth")
    return caplog


@contextmanager
def inside(server: RedisServer) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=str(server.socket), decode_responses=True) as client:
        yield client


def process(store: RedisTokenStore, password: str = "hunter2") -> BearerAuth:
    return BearerAuth.login("admin", password, store=store).for_base_url(URL)


async def token_of(auth: BearerAuth, service: Service) -> str:
    await auth.acquire(service, now=NOW)
    return bearer(auth)


def refuse(auth: BearerAuth) -> None:
    sent = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")
    assert auth.refused(refusal(NOW), sent, now=NOW)


# -- processes -------------------------------------------------------------------------------------


async def test_eight_processes_log_in_once_and_once_more_for_a_token_that_ends(
    emulator: Emulator, server: RedisServer
) -> None:
    async with workers(emulator, server.address) as eight:
        assert await all_call(eight) == ["ok"] * 8
        assert logins(emulator) == 1
        emulator.streamspace.tokens.revoke_all()
        assert await all_call(eight) == ["ok"] * 8
        assert logins(emulator) == 2
    assert not server.connections()


async def test_eight_processes_with_a_wrong_password_log_in_once(
    emulator: Emulator, server: RedisServer
) -> None:
    async with workers(emulator, server.address, password="a wrong one") as eight:
        said = await all_call(eight)
    assert logins(emulator) == 1
    assert sum("so nothing was sent" in one for one in said) == 7
    assert not server.connections()
    with inside(server) as client:
        [key] = client.keys("*")
        assert 0 < client.ttl(key) <= 30
        assert "a wrong one" not in client.get(key)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_ends_or_stops_while_it_logs_in_is_replaced_by_one(
    emulator: Emulator, server: RedisServer, end: signal.Signals
) -> None:
    emulator.faults.add("POST */auth/login", Fault.delay(2))
    async with workers(emulator, server.address, 3) as three:
        three[0].begin()
        await until(lambda: logins(emulator) == 1)
        three[0].signal(end)
        assert await all_call(three[1:]) == ["ok"] * 2
        assert logins(emulator) == 2


# -- what is stored --------------------------------------------------------------------------------


async def test_keys_show_nothing_and_end_with_their_token(server: RedisServer) -> None:
    store = RedisTokenStore(server.address, prefix="mine:")
    await token_of(process(store), Service(life=timedelta(seconds=1000)))
    await token_of(
        BearerAuth.login("admin", "hunter2", store=store).for_base_url("https://b"),
        Service(life=timedelta(seconds=-1)),
    )
    with inside(server) as client:
        keys = client.keys("*")
        lives = sorted(client.ttl(key) for key in keys)
        values = [client.get(key) for key in keys]
    assert len(keys) == 2, "and no lock is left"
    assert all(key.startswith("mine:") and len(key) == 5 + 64 for key in keys)
    assert 990 <= lives[0] <= 1000
    assert 86_300 <= lives[1] <= 86_400, "the service does not say when this one ends"
    assert not any(secret in f"{keys}{values}" for secret in (*SECRETS, "admin", "desktops"))


async def test_the_life_that_is_left_is_that_of_the_key(server: RedisServer) -> None:
    service, store = Service(life=timedelta(seconds=1000)), RedisTokenStore(server.address)
    await token_of(process(store), service)
    with inside(server) as client:
        [key] = client.keys("*")
        client.pexpire(key, 100_000)
        second = process(store)
        await token_of(second, service)
        assert second.ready(NOW + 38)
        assert not second.ready(NOW + 41)
        client.pexpire(key, 59_000)
    assert await token_of(process(store), service) == "Bearer tok-2"


async def test_a_refused_token_is_removed_and_a_newer_one_is_kept(server: RedisServer) -> None:
    service, store = Service(), RedisTokenStore(server.address)
    first, second = process(store), process(store)
    await token_of(first, service)
    await token_of(second, service)
    refuse(first)
    assert await token_of(first, service) == "Bearer tok-2"
    refuse(second)
    assert await token_of(second, service) == "Bearer tok-2"
    second.forget()
    await second.share(now=NOW)
    with inside(server) as client:
        assert client.keys("*") == []


@pytest.mark.parametrize("value", ["", "no JSON", '{"token":"tok-0"}', "[" * 100_000])
async def test_a_value_that_is_no_token_is_replaced(server: RedisServer, value: str) -> None:
    service, store = Service(), RedisTokenStore(server.address)
    await token_of(process(store), service)
    with inside(server) as client:
        [key] = client.keys("*")
        client.set(key, value)
        auth = process(store)
        auth.adopt("tok-before", None, now=NOW)
        refuse(auth)
        assert await token_of(auth, service) == "Bearer tok-2"
        assert await token_of(process(store), service) == "Bearer tok-2"


async def test_a_key_of_another_kind_costs_a_login(
    server: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    service, store = Service(), RedisTokenStore(server.address)
    await token_of(process(store), service)
    with inside(server) as client:
        [key] = client.keys("*")
        client.delete(key)
        client.lpush(key, "something")
    assert await token_of(process(store), service) == "Bearer tok-2"
    assert [record.levelname for record in log.records] == ["WARNING"]


# -- a Redis that is away --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_while_it_is_away_each_logs_in_with_one_warning(
    server: RedisServer, log: pytest.LogCaptureFixture, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "STORE_TIMEOUT", 0.3)
    service, store = Service(), RedisTokenStore(server.address)
    server.kill() if how == "killed" else server.pause()
    assert await token_of(process(store), service) == "Bearer tok-1"
    assert await token_of(process(store), service) == "Bearer tok-2"
    server.start() if how == "killed" else server.resume()
    assert await token_of(process(store), service) == "Bearer tok-3"
    assert await token_of(process(store), service) == "Bearer tok-3"
    reason = "ConnectionError, " if how == "killed" else "no answer in 0.3 s"
    [warning, information] = log.records
    assert warning.getMessage().startswith(f"the token store in Redis fails ({reason}")
    assert warning.getMessage().endswith("): until it works, this process logs in by itself")
    assert information.getMessage() == "the token store in Redis works again"


async def test_it_may_go_while_a_process_logs_in(
    server: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    service, store = Service(), RedisTokenStore(server.address)
    service.gate.clear()
    task = asyncio.create_task(token_of(process(store), service))
    await asyncio.sleep(0.5)
    server.kill()
    service.gate.set()
    assert await task == "Bearer tok-1"
    assert service.logins == 1
    assert [record.levelname for record in log.records] == ["WARNING"]
    server.start()


async def test_a_peer_that_is_no_redis_is_not_quoted(log: pytest.LogCaptureFixture) -> None:
    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 " + await reader.read(1000) + b"\r\n")
        writer.close()

    async with await asyncio.start_server(repeat, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        store = RedisTokenStore(f"redis://:hunter2@127.0.0.1:{port}")
        assert await token_of(process(store), Service()) == "Bearer tok-1"
    assert "hunter2" not in log.text
    assert len(log.records) == 1


async def test_a_cancelled_login_gives_up_its_lock_and_its_connection(server: RedisServer) -> None:
    service, store = Service(), RedisTokenStore(server.address)
    service.gate.clear()
    before = asyncio.all_tasks()
    task = asyncio.create_task(token_of(process(store), service))
    await asyncio.sleep(0.5)
    with inside(server) as client:
        assert [key for key in client.keys("*") if key.endswith(":login")]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.keys("*") == []
    assert not server.connections()
    await wait_for_tasks(before)


async def test_a_password_that_it_refuses_is_not_shown(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path) as server:
        with inside(server) as client:
            client.config_set("requirepass", "the right one")
        store = RedisTokenStore(f"{server.address}?password=hunter2")
        assert await token_of(process(store), Service()) == "Bearer tok-1"
    assert "hunter2" not in log.text
    [warning] = log.records
    assert "AuthenticationError" in warning.getMessage()


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_checked(tmp_path: Path, log: pytest.LogCaptureFixture, trusted: bool) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    (authority if trusted else other).cert_pem.write_to_path(tmp_path / "ca.pem")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    more = {
        "tls-port": str(port),
        "tls-cert-file": str(tmp_path / "server.pem"),
        "tls-key-file": str(tmp_path / "server.pem"),
        "tls-ca-cert-file": str(tmp_path / "ca.pem"),
        "tls-auth-clients": "no",
    }
    with redis_server(tmp_path, more):
        address = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}"
        store, service = RedisTokenStore(address), Service()
        await token_of(process(store), service)
        await token_of(process(store), service)
    assert service.logins == (1 if trusted else 2)
    assert len(log.records) == (0 if trusted else 1)


# -- arguments -------------------------------------------------------------------------------------


async def test_a_client_of_the_users_own_is_used_and_left_open(server: RedisServer) -> None:
    for decode in (False, True):
        own = redis_asyncio.Redis(unix_socket_path=str(server.socket), decode_responses=decode)
        async with own:
            await own.flushall()
            service, store = Service(), RedisTokenStore(own)
            assert await token_of(process(store), service) == "Bearer tok-1"
            assert await token_of(process(store), service) == "Bearer tok-1"
            assert await own.ping()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: RedisTokenStore("http://:hunter2@host"), "must be like redis://localhost:6379"),
        (lambda: RedisTokenStore("redis://hunter2:6379x/"), "must be like redis://localhost:6379"),
        (lambda: RedisTokenStore(redis.Redis()), "a client of redis.asyncio, not redis.client"),  # type: ignore[arg-type]
        (lambda: RedisTokenStore(None), "or a client of redis.asyncio, not builtins.NoneType"),  # type: ignore[arg-type]
        (lambda: RedisTokenStore("redis://host", prefix=5), "prefix must be a string, not 5"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_says_what_to_write(wrong: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        wrong()
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_store_shows_no_password() -> None:
    store = RedisTokenStore("redis://:hunter2@host")
    assert repr(store) == "RedisTokenStore(***)"
    assert store.place == "in Redis"


def test_a_port_that_nothing_listens_at_is_found_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = RedisTokenStore(f"redis://127.0.0.1:{unused.getsockname()[1]}")
        assert asyncio.run(token_of(process(store), Service())) == "Bearer tok-1"
