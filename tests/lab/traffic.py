"""What tests measure links with: `python -m tests.lab.traffic WHAT …` on a host; says what it found in JSON lines.

serve PORT                  take TCP streams and UDP datagrams and send each datagram back, until it is ended
stream ADDRESS PORT SECONDS send as fast as the link permits; the server says what arrived
times ADDRESS PORT COUNT    how long datagrams take there and back, and how many do not return
dial ADDRESS PORT SECONDS   whether a TCP connection can be made
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import Any

_WARM_UP_SECONDS = 1.5  # TCP's way to its full rate does not count
_PAUSE_SECONDS = 0.01  # between two datagrams
_LAST_SECONDS = 0.5  # for the last datagrams' return


def say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def serve(port: int) -> None:
    server = socket.create_server(("0.0.0.0", port))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("0.0.0.0", port))
    threading.Thread(target=_send_back, args=(datagrams,), daemon=True).start()
    say("listening")
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_take, args=(connection,), daemon=True).start()


def _send_back(datagrams: socket.socket) -> None:
    while True:
        data, address = datagrams.recvfrom(2048)
        datagrams.sendto(data, address)


def _take(connection: socket.socket) -> None:
    """Read to the end; the rate is that between the warm-up and the last byte."""
    began, counted, since = time.monotonic(), 0, 0.0
    while data := connection.recv(1 << 18):
        now = time.monotonic()
        if since:
            counted, last = counted + len(data), now
        elif now - began > _WARM_UP_SECONDS:
            since = last = now
    if counted:
        say("received", mbit=counted * 8 / 1e6 / (last - since))


def stream(address: str, port: int, seconds: float) -> None:
    data, end = bytes(1 << 16), time.monotonic() + seconds
    with socket.create_connection((address, port), 5) as connection:
        while time.monotonic() < end:
            connection.sendall(data)


def times(address: str, port: int, count: int) -> None:
    sent: dict[bytes, float] = {}
    took: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((address, port))
        for number in range(count):
            sent[key := str(number).encode()] = time.monotonic()
            datagrams.send(key)
            _hear(datagrams, sent, took, _PAUSE_SECONDS)
        _hear(datagrams, sent, took, _LAST_SECONDS)
    ordered = [seconds * 1000 for seconds in sorted(took)] or [0.0]
    say("times", lost=count - len(took), least_ms=ordered[0], median_ms=ordered[len(ordered) // 2])


def _hear(datagrams: socket.socket, sent: dict[bytes, float], took: list[float], seconds: float) -> None:
    """What comes back within `seconds`."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        datagrams.settimeout(left)
        try:
            key = datagrams.recv(2048)
        except TimeoutError:
            return
        took.append(time.monotonic() - sent[key])


def dial(address: str, port: int, seconds: float) -> None:
    try:
        socket.create_connection((address, port), seconds).close()
    except OSError as error:
        say("refused", why=type(error).__name__)
    else:
        say("connected")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", port]:
            serve(int(port))
        case ["stream", address, port, seconds]:
            stream(address, int(port), float(seconds))
        case ["times", address, port, count]:
            times(address, int(port), int(count))
        case ["dial", address, port, seconds]:
            dial(address, int(port), float(seconds))
