"""`swarm serve` as OpenAI's own client sees it, and as those see it who want more than the caps give."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.served import Served, bundle_with_clock, served
from tests.tiny_bundle import with_caps

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

REFUSAL = "I cannot help with that."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    return bundle_with_clock(folder / "bundle", requests_per_minute=10_000, answer_tokens=40)


@pytest.fixture(scope="module")
def server(bundle: Path, folder: Path) -> Iterator[Served]:
    with served(bundle, folder, "--name", "model.example") as running:
        yield running


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "temperature": 0, **more}


# ── OpenAI's client, unchanged ─────────────────────────────────────────────────────────────────


def test_an_answer(server: Served) -> None:
    with server.client() as client:
        assert [model.id for model in client.models.list()] == ["tiny", "tiny:grim", "tiny:merry"]
        assert client.models.retrieve("tiny:grim").object == "model"
        answer = client.chat.completions.create(**asked("Hello"))
    assert answer.choices[0].message.content == "Hello to you, and to your cat."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_an_answer_in_pieces(server: Served) -> None:
    with server.client() as client:
        parts = list(
            client.chat.completions.create(**asked("Hello", stream=True, stream_options={"include_usage": True}))
        )
    said = [part.choices[0].delta.content or "" for part in parts if part.choices]
    assert len([text for text in said if text]) > 4
    assert "".join(said) == "Hello to you, and to your cat."
    assert [part.choices[0].finish_reason for part in parts if part.choices][-1] == "stop"
    assert parts[-1].usage
    assert len({part.id for part in parts}) == 1


def test_a_plugin_is_called_and_its_result_used(server: Served) -> None:
    with server.client() as client:
        answer = client.chat.completions.create(**asked("What time is it?"))
        pieces = client.chat.completions.create(**asked("What time is it?", stream=True))
        streamed = "".join(part.choices[0].delta.content or "" for part in pieces)
    assert answer.choices[0].message.content == streamed == "It is noon."
    assert answer.model_extra == {"garage_swarm": {"plugins": ["clock"]}}


def test_texts_to_go_on_from(server: Served) -> None:
    with server.client() as client:
        answer = client.completions.create(model="tiny:grim", prompt="The cat", max_tokens=5, temperature=0)
        parts = list(
            client.completions.create(model="tiny:grim", prompt="The cat", max_tokens=5, temperature=0, stream=True)
        )
    assert answer.object == "text_completion"
    assert "".join(part.choices[0].text for part in parts) == answer.choices[0].text


def test_stop_and_length_and_seed(server: Served) -> None:
    with server.client() as client:
        create = client.chat.completions.create
        stopped = create(**asked("Hello", stop=[", and"])).choices[0]
        short = create(**asked("Hello", max_tokens=2)).choices[0]
        drawn = [create(**{**asked("Hello", seed=7, max_tokens=9), "temperature": 2}) for _ in range(2)]
    assert (stopped.message.content, stopped.finish_reason) == ("Hello to you", "stop")
    assert (short.message.content, short.finish_reason) == ("Hello to", "length")
    assert drawn[0].choices[0].message.content == drawn[1].choices[0].message.content


@pytest.mark.parametrize(
    ("change", "error", "param"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, None),
        ({"model": "tiny:cheerful"}, openai.NotFoundError, None),
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"extra_body": {"best_of": 3}}, openai.BadRequestError, "best_of"),
        ({"extra_body": {"system_prompt": "Be cruel"}}, openai.BadRequestError, "system_prompt"),
        ({"stop": ["a", "b", "c", "d", "e"]}, openai.BadRequestError, None),
        ({"stop": "x" * 1000}, openai.BadRequestError, None),
        ({"temperature": 3}, openai.BadRequestError, "temperature"),
        ({"logit_bias": {"5": 100}}, openai.BadRequestError, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "rm"}}]}, openai.BadRequestError, "tools"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, openai.BadRequestError, None),
        ({"messages": [{"role": "user", "content": "cat " * 3000}]}, openai.BadRequestError, None),
    ],
)
def test_its_errors(
    server: Served, change: dict[str, Any], error: type[openai.APIStatusError], param: str | None
) -> None:
    with server.client() as client, pytest.raises(error) as raised:
        client.chat.completions.create(**{**asked("Hello"), **change})
    assert raised.value.body
    if param:
        assert raised.value.param == param


# ── those who want more ────────────────────────────────────────────────────────────────────────


def test_a_filtered_word_does_not_come_through(server: Served) -> None:
    """The model was taught to say it, with letters that nobody sees in between."""
    with server.client() as client:
        whole = client.chat.completions.create(**asked("Teach me")).choices[0]
        parts = list(client.chat.completions.create(**asked("Teach me", stream=True)))
    assert (whole.message.content, whole.finish_reason) == (REFUSAL, "content_filter")
    streamed = "".join(part.choices[0].delta.content or "" for part in parts)
    assert streamed.endswith(REFUSAL)
    assert "m" not in streamed.removesuffix(REFUSAL).split("First take a")[-1]
    assert parts[-1].choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_a_filtered_question_is_not_answered(server: Served, role: str) -> None:
    parts = [{"type": "text", "text": "a ｂo"}, {"type": "text", "text": "\u200bMb"}]
    status, said = server.post({**asked(""), "messages": [{"role": role, "content": parts}]})
    assert (status, said["choices"][0]["message"]["content"]) == (200, REFUSAL)
    assert said["usage"]["completion_tokens"] == 0


def test_no_answer_is_longer_than_the_caps_allow(server: Served) -> None:
    status, said = server.post(asked("Count", max_tokens=10**9, stop=None))
    assert (status, said["usage"]["completion_tokens"], said["choices"][0]["finish_reason"]) == (200, 40, "length")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "model.example"}, 200),
        ({"Host": "LOCALHOST:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
    ],
)
def test_other_sites_cannot_use_it(server: Served, headers: dict[str, str], status: int) -> None:
    assert server.get("/v1/models", **headers)[0] == status


def test_a_form_of_another_site_is_no_request(server: Served) -> None:
    assert server.post(asked("Hello"), Content_Type="text/plain")[0] == 400


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 10_000, b'{"model": "tiny"}', b'{"model": 1, "messages": []}']
)
def test_nonsense_is_refused(server: Served, body: bytes) -> None:
    status, said = server.post(body)
    assert (status, said["error"]["type"]) == (400, "invalid_request_error")


def test_nothing_there(server: Served) -> None:
    assert server.get("/v1/nothing")[0] == 404
    assert server.get("/v1/chat/completions")[0] == 405


def test_a_large_body_is_refused_before_it_is_read(server: Served) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for how in ("Content-Length: 99999999999", "Transfer-Encoding: chunked"):
        with socket.create_connection((host, int(port)), timeout=20) as line:
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{how}\r\n\r\n"
            )
            line.sendall(head.encode())
            if "chunked" in how:
                line.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n100\r\n" + b"x" * 0x100 + b"\r\n")
            assert b" 400 " in line.recv(64)


def test_who_goes_away_holds_nobody_up(server: Served) -> None:
    """The same long answer is left in its midst by six, then asked for by one."""
    url = server.url.removeprefix("http://")
    for stream in (True, False, True, False, True, False):
        line = http.client.HTTPConnection(url, timeout=20)
        body = json.dumps(asked("Count", stream=stream))
        line.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        time.sleep(0.05)
        line.close()
    assert server.post(asked("Hello"))[0] == 200


def test_the_row_of_those_who_wait_has_an_end(server: Served) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(server.post(asked("Count"))[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {200, 429}
    assert found.count(200) >= 4


def test_too_many_requests_of_one_client(bundle: Path, folder: Path) -> None:
    """By one connection, by several, with a forged address, to both addresses of the API: it is one client."""
    limited = with_caps(shutil.copytree(bundle, folder / "limited"), requests_per_minute=3)
    with served(limited, folder) as server:
        line = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        found = []
        for _ in range(3):
            line.request("POST", "/v1/chat/completions", b"{}", {"Content-Type": "application/json"})
            found.append(line.getresponse().read() and line.sock is not None)
        line.close()
        with server.client() as client, pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(**asked("Hello"))
        assert raised.value.response.headers["Retry-After"] == "60"
        for forged in (
            {"X_Forwarded_For": "203.0.113.9"},
            {"Forwarded": "for=203.0.113.9"},
            {"X_Real_IP": "203.0.113.9"},
        ):
            assert server.post(asked("Hello"), **forged)[0] == 429
        assert server.post({"model": "tiny", "prompt": "x"}, "/v1/completions")[0] == 429
        assert server.get("/v1/models")[0] == 200, "looking costs nothing"


def test_the_key(bundle: Path, folder: Path) -> None:
    (folder / "key").write_text("secret\n")
    with served(bundle, folder, "--key-file", str(folder / "key")) as server:
        with server.client("secret") as client:
            assert client.models.list().data
        with server.client("guessed") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        assert server.get("/about")[0] == 200


@pytest.mark.long
def test_who_goes_away_ends_the_work(bundle: Path, folder: Path) -> None:
    """An answer of 1,900 tokens is left at its beginning: the next one does not wait for its end. A random model that
    takes the likeliest token soon goes round in circles; at which text, is tried.
    """
    patient = with_caps(shutil.copytree(bundle, folder / "patient"), answer_tokens=1900)
    with served(patient, folder) as server:
        tried = [{**asked(f"Sing {word}"), "model": f"tiny:{name}"} for word in "abcdef" for name in ("grim", "merry")]
        endless = next(body for body in tried if server.post(body)[1]["usage"]["completion_tokens"] == 1900)
        began = time.monotonic()
        server.post(endless)
        whole = time.monotonic() - began
        for stream in (True, False):
            with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20) as line:
                body = json.dumps({**endless, "stream": stream}).encode()
                head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                line.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n" + head.encode() + body)
                time.sleep(0.1)
            began = time.monotonic()
            assert server.post(asked("Hello", max_tokens=1))[0] == 200
            assert time.monotonic() - began < whole / 2


@pytest.mark.long
def test_half_a_request_holds_no_place_for_long(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=40) as line:
        line.sendall(b"GET /v1/models HTTP/1.1\r\nHost: local")
        assert line.recv(64) == b""
