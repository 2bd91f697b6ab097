"""What readers may take: how many come, how long one may hold its answer, and what news cost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coordinator.web import events, limits
from coordinator.web.connection import _OF_ONE, MOST, Entrance
from coordinator.web.events import Events
from coordinator.web.limits import Limits
from coordinator.web.sessions import LIFE, Sessions, insecure
from swarm.errors import LoginError, OverloadError, RefusedError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_come_at_a_time_in_a_second_and_from_one_address() -> None:
    clock = Clock()
    entrance = Entrance(clock)
    assert not entrance.admits("192.0.2.1", MOST + 1)
    assert sum(entrance.admits("127.0.0.1", 1) for _ in range(1000)) == 200, "a flood: the rest waits a second"
    admitted = 0
    for _ in range(20):
        clock.now += 1.1
        admitted += sum(entrance.admits("192.0.2.1", 1) for _ in range(100))
        assert entrance.admits("192.0.2.2", 1)
    assert admitted == 600


def test_a_reader_that_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_SEND_SECONDS", 0.05)
    ended: list[str] = []

    async def page(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never(_message: Any) -> None:
        await asyncio.sleep(60)

    async def read() -> None:
        await Limits(page)({"type": "http", "state": {"abort": lambda: ended.append("aborted")}}, never, never)  # type: ignore[arg-type]

    asyncio.run(read())
    assert ended == ["aborted"]


def test_news_are_made_once_for_all_readers_and_only_when_something_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_EVERY_SECONDS", 0.01)
    made: list[int] = []

    def news() -> dict[str, Any]:
        made.append(0)
        return {"round": len(made) // 8, "at": len(made)}

    async def read(told: Events) -> list[bytes]:
        return [message async for message, _ in azip(told.stream(), 4)]

    async def many() -> list[list[bytes]]:
        told = Events(news)
        read_by = await asyncio.gather(*(read(told) for _ in range(50)))
        await asyncio.sleep(0.05)
        assert told.readers == 0
        return list(read_by)

    heard = asyncio.run(many())
    assert all(messages == heard[0] for messages in heard)
    assert len(set(heard[0])) == 4, "a message says something new"
    assert len(made) < 40


async def azip(source: Any, most: int) -> Any:
    number = 0
    async for message in source:
        yield message, number
        number += 1
        if number == most:
            await source.aclose()
            return


def test_sessions_end_and_actions_show_the_pages_own_token() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    secret, made = sessions.begin("token")
    assert sessions.acting(secret, made.csrf).token == "token"
    with pytest.raises(RefusedError):
        sessions.acting(secret, "ünsinn")
    with pytest.raises(LoginError):
        sessions.acting("guess", made.csrf)
    clock.now = LIFE
    with pytest.raises(LoginError):
        sessions.acting(secret, made.csrf)


def test_of_many_sessions_the_oldest_end() -> None:
    sessions = Sessions(Clock())
    begun = [sessions.begin(f"token {number}")[0] for number in range(70)]
    assert [sessions.of(secret) is None for secret in begun].count(True) == 6


def test_tries_to_log_in_are_few() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    for _ in range(5):
        sessions.require_patience("192.0.2.1")
    with pytest.raises(OverloadError):
        sessions.require_patience("192.0.2.1")
    clock.now = 61.0
    sessions.require_patience("192.0.2.1")


def test_nobody_keeps_others_from_logging_in_and_a_home_is_one_caller() -> None:
    sessions = Sessions(Clock())
    for number in range(1000):
        sessions.require_patience(f"2001:db8:{number:x}::1")
    sessions.require_patience("198.51.100.7")
    for number in range(1, 5):
        sessions.require_patience(f"2001:db8:1::{number:x}:1")
    with pytest.raises(OverloadError):
        sessions.require_patience("2001:db8:1::ffff")


def test_a_home_with_many_addresses_is_one_reader() -> None:
    clock = Clock()
    entrance = Entrance(clock)
    admitted = 0
    for number in range(_OF_ONE + 50):
        clock.now += 0.01
        admitted += entrance.admits(f"2001:db8::{number:x}", 1)
    assert admitted == _OF_ONE
    assert entrance.admits("2001:db8:0:1::1", 1)


@pytest.mark.parametrize(
    ("scheme", "client", "host", "safe"),
    [
        ("https", "192.0.2.1", "run.example.org", True),
        ("http", "127.0.0.1", "localhost", True),
        ("http", "::1", "::1", True),
        ("http", "192.0.2.1", "192.0.2.9", False),
        ("http", "127.0.0.1", "run.example.org", False),
        ("http", "192.0.2.1", "localhost", False),
    ],
)
def test_invites_are_taken_over_tls_or_on_the_machine_itself(scheme: str, client: str, host: str, safe: bool) -> None:
    assert (insecure(scheme, client, host) == "") is safe
