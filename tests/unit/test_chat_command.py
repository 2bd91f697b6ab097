"""What `swarm chat` shows of an answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

from peer.serving.answering import Event
from swarm.cli.chat import _show


def test_control_c_between_two_pieces_ends_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[str] = []

    def pieces() -> Generator[Event, None, None]:
        try:
            yield "0 1 "
            yield "2 3 "
            os.kill(os.getpid(), signal.SIGINT)
            yield "4 5 "
        finally:
            ended.append("the work")

    assert _show(pieces) == "0 1 2 3 "
    assert capsys.readouterr().out == "0 1 2 3 \n"
    assert ended == ["the work"]
