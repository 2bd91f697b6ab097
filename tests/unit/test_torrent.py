"""A bundle as a torrent, downloaded by libtorrent from nothing but a web seed on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from swarm.bundle import torrent
from swarm.bundle.push import packed
from swarm.errors import UsageError
from tests.small_bundle import content, noise, small_bundle

NEEDS = pytest.mark.skipif(not find_spec("libtorrent"), reason='not installed: pip install "garage-swarm[torrent]"')


class Ranges(SimpleHTTPRequestHandler):
    """Files of a folder, in the parts that are asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def web(folder: Path) -> Iterator[str]:
    def handler(*words: Any) -> Ranges:
        return Ranges(*words, directory=str(folder))

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/models"
    server.shutdown()
    server.server_close()


@NEEDS
def test_a_torrent_is_downloaded_from_its_web_seed_alone(tmp_path: Path) -> None:
    import libtorrent

    bundle = tmp_path / "web" / "models" / "small-model-1.0"
    small_bundle(bundle, {"config.json": b"{}", "model.safetensors": noise(3_000_000)})
    cargo = packed(bundle)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(bundle)
    with web(tmp_path / "web") as seed:
        magnet = torrent.write(elsewhere, cargo, [seed], tmp_path / "one.torrent")
        torrent.write(bundle, cargo, [seed], tmp_path / "other.torrent")
        assert (tmp_path / "one.torrent").read_bytes() == (tmp_path / "other.torrent").read_bytes()
        assert magnet.startswith("magnet:?xt=urn:btih:")
        quiet = {"enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False}
        session = libtorrent.session({"listen_interfaces": "127.0.0.1:0", **quiet})
        wanted = libtorrent.load_torrent_file(str(tmp_path / "one.torrent"))
        wanted.save_path = str(tmp_path / "out")
        handle = session.add_torrent(wanted)
        end = time.monotonic() + 30
        while not handle.status().is_seeding and time.monotonic() < end:
            time.sleep(0.05)
        session.pause()
        assert handle.status().is_seeding, handle.status().errc.message()
    assert content(tmp_path / "out" / "small-model-1.0") == content(bundle)


@pytest.mark.skipif(bool(find_spec("libtorrent")), reason="libtorrent is installed")
def test_without_the_library_the_command_that_installs_it_is_said(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    with pytest.raises(UsageError, match=r"garage-swarm\[torrent\]"):
        torrent.write(tmp_path / "bundle", packed(tmp_path / "bundle"), [], tmp_path / "one.torrent")


def test_a_seed_is_a_web_address(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    with pytest.raises(UsageError, match="no web seed"):
        torrent.write(tmp_path / "bundle", packed(tmp_path / "bundle"), ["ftp://x"], tmp_path / "one.torrent")
