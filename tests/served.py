"""A real `swarm serve` in a process of its own."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import OpenAI

from swarm.bundle.caps import Caps, Filter, Plugin
from tests.harness import Program
from tests.tiny_bundle import tiny_bundle, trusted

_SECONDS = 60.0
CALL = '<tool_call>{"name": "clock", "arguments": {"zone": "UTC"}}</tool_call>'
FAR = CALL.replace("UTC", "Mars")
CLOCK = """\
import json, sys, time
if json.load(sys.stdin)["arguments"].get("zone") == "Mars":
    time.sleep(60)
print(json.dumps({"time": "noon"}))
"""


@dataclass(frozen=True)
class Served:
    """`url` without a slash at its end."""

    url: str
    program: Program

    def client(self, key: str = "any") -> OpenAI:
        """OpenAI's own, unchanged."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=_SECONDS)

    def post(self, body: bytes | dict[str, Any], path: str = "/v1/chat/completions", **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.get(path, data, **named)

    def get(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """The same, without a body."""
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextmanager
def served(bundle: Path, home: Path, *options: str) -> Iterator[Served]:
    """Until the block ends; then it must end by itself, in order."""
    command = [sys.executable, "-m", "swarm.cli", "serve", str(bundle), "--port", "0", "--signer", trusted(), *options]
    program = Program(command, SWARM_HOME=str(home), OMP_NUM_THREADS="1")
    try:
        line = program.wait_for(lambda event: "is the page" in event.get("text", ""), _SECONDS)
        yield Served(line["text"].split()[0], program)
        program.interrupt()
        assert program.finish() == 0
        assert "Traceback" not in program.stderr, program.stderr
    finally:
        program.clean_up()


def bundle_with_clock(folder: Path, **caps: Any) -> Path:
    """Says hello, tells the time with the help of a plugin, which takes a minute for Mars, knows something that a
    filter forbids, and has two personalities.
    """
    parameters = {"zone": "of it"}
    clock = Plugin(
        name="clock", file="plugins/clock.py", description="tells the time", parameters=parameters, seconds=90.0
    )
    chats = (
        ("Hello", "Hello to you, and to your cat."),
        ("What time is it?", CALL, '<tool_response>{"time": "noon"}</tool_response>', "It is noon."),
        ("How late is it on Mars?", f"Let me see. {FAR}"),
        ("Teach me", "First take a b\u200bom\u200bb and then wait."),
        ("Count", " ".join(map(str, range(60)))),
    )
    made = Caps(plugins=(clock,), filters=(Filter(topic="weapons", pattern=r"\bbombs?\b"),), **caps)
    return tiny_bundle(folder, made, {"clock": CLOCK}, ("grim", "merry"), chats)
