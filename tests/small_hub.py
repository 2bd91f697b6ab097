"""A hub of a few lines on loopback: what huggingface_hub asks when a folder is uploaded, with files in memory."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_tests"
COMMIT = "c" * 40


class Hub:
    """Its repositories' files, what was stored of large ones by SHA-256, and the requests that came."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.endpoint = ""

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """What is answered to a request that has the token."""
        self.asked.append(f"{method} {path}")
        if method == "PUT":
            self.large[path.rpartition("/")[2]] = body
            return {}
        if path.endswith("/api/repos/create"):
            return {"url": f"{self.endpoint}/org/name"}
        if path.endswith("/api/validate-yaml"):
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            wanted = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [self._mode(name) for name in wanted]}
        if path.endswith("/objects/batch"):
            return {"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]}
        if "/commit/" in path:
            return self._commit([json.loads(line) for line in body.splitlines()])
        return [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in self.files.items()]

    def _mode(self, name: str) -> dict[str, Any]:
        return {
            "path": name,
            "uploadMode": "lfs" if name.endswith(".safetensors") else "regular",
            "shouldIgnore": False,
        }

    def _place(self, one: dict[str, Any]) -> dict[str, Any]:
        """Where a large file is put; nowhere when it is there."""
        actions = {"upload": {"href": f"{self.endpoint}/store/{one['oid']}"}}
        return {"oid": one["oid"], "size": one["size"], **({} if one["oid"] in self.large else {"actions": actions})}

    def _commit(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                self.files[value["path"]] = self.large[value["oid"]]
            elif key == "deletedFile":
                del self.files[value["path"]]
        return {"commitUrl": f"{self.endpoint}/org/name/commit/{COMMIT}", "commitOid": COMMIT}


@contextmanager
def small_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}" or self.path.startswith("/store/")
            said = hub.answer(self.command, re.sub(r"\?.*", "", self.path), body) if known else {"error": "no token"}
            data = json.dumps(said).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
