"""The page's own files, read once and kept packed; and the picture of an invite."""

from __future__ import annotations

import hashlib
import io
import mimetypes
from importlib.resources import files

import segno
from starlette.requests import Request
from starlette.responses import Response

from coordinator.web.board import Body

_KINDS = {".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Files:
    """By their names, all of them in memory: a few dozen kilobytes."""

    def __init__(self) -> None:
        folder = files("coordinator.web") / "static"
        self._kept = {item.name: Body.of(item.read_bytes()) for item in folder.iterdir() if item.is_file()}
        self._tags = {name: f'"{hashlib.sha256(body.plain).hexdigest()[:16]}"' for name, body in self._kept.items()}

    def answer(self, name: str, request: Request) -> Response | None:
        """The file, or that the browser's copy is the newest; None without such a file."""
        if name not in self._kept:
            return None
        headers = {"ETag": self._tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == self._tags[name]:
            return Response(status_code=304, headers=headers)
        return packed(self._kept[name], _kind(name), request, headers)


def packed(body: Body, kind: str, request: Request, headers: dict[str, str] | None = None) -> Response:
    """In the form that the browser takes."""
    headers = {**(headers or {}), "Content-Type": kind, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(body.packed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(body.plain, headers=headers)


def _kind(name: str) -> str:
    ending = name[name.rfind(".") :]
    return _KINDS.get(ending) or f"{mimetypes.guess_type(name)[0] or 'application/octet-stream'}; charset=utf-8"


def qr_picture(text: str) -> bytes:
    """An SVG that a camera reads, on white also where the page is dark."""
    drawn = io.BytesIO()
    segno.make_qr(text, error="l").save(drawn, kind="svg", scale=4, light="white", svgclass=None, lineclass=None)
    return drawn.getvalue()
