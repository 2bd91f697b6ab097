"""The line between supervisor and worker: calls, errors, notifications, and its end."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from peer.bridge import Bridge
from swarm.errors import DiskError, SwarmError, UnreachableError


@pytest.fixture
def ends() -> Iterator[tuple[Bridge, Bridge, queue.SimpleQueue[Any], threading.Event]]:
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    closed = threading.Event()

    def full() -> None:
        raise DiskError("The disk is full.", "Free some space.")

    def broken() -> None:
        raise ZeroDivisionError("oops")

    handlers = {
        "add": lambda a, b: a + b,
        "full": full,
        "broken": broken,
        "tell": heard.put,
        "slow": threading.Event().wait,
    }
    one, two = socket.socketpair()
    ours, theirs = Bridge(one, {}, lambda: None), Bridge(two, handlers, closed.set)
    ours.start()
    theirs.start()
    yield ours, theirs, heard, closed
    ours.close()
    theirs.close()


def test_calls_and_notifications(ends: tuple[Bridge, Bridge, queue.SimpleQueue[Any], threading.Event]) -> None:
    ours, _, heard, _ = ends
    assert ours.call("add", a=2, b=3) == 5
    ours.notify("tell", item="hello")
    assert heard.get(timeout=2) == "hello"


def test_an_error_keeps_its_kind_and_its_remedy(ends: Any) -> None:
    with pytest.raises(DiskError) as caught:
        ends[0].call("full")
    assert (caught.value.what, caught.value.remedy) == ("The disk is full.", "Free some space.")


def test_an_unexpected_error_is_a_sentence(ends: Any) -> None:
    with pytest.raises(SwarmError, match="broken failed: oops"):
        ends[0].call("broken")


def test_silence_has_an_end_and_does_not_block_others(ends: Any) -> None:
    ours = ends[0]
    with pytest.raises(UnreachableError):
        ours.call("slow", seconds=0.2, timeout=0.5)
    assert ours.call("add", a=1, b=1) == 2


def test_hanging_up_is_noticed_and_later_words_are_no_crash(ends: Any) -> None:
    ours, theirs, _, closed = ends
    ours.close()
    assert closed.wait(2)
    theirs.notify("anything")
    with pytest.raises(UnreachableError):
        theirs.call("anything", seconds=1)
