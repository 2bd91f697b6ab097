"""What every answer of a page of ours says to browsers: it loads nothing from elsewhere and nobody frames it."""

from __future__ import annotations

from collections.abc import Iterable

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "Cache-Control": "no-store",
}


def with_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The answer's own headers come first: one of that name stays."""
    headers = list(headers)
    named = {name.lower() for name, _ in headers}
    more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    return [*headers, *((name, value) for name, value in more if name not in named)]
