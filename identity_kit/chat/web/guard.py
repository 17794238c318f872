"""Who may talk to the page's server: only pages that it served itself, by a name that is its own."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# No outside scripts, styles, fonts, pictures or frames; nothing inline.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_COOKIE = "idkit_key"


def make_guard(port: int, host: str, key: str | None):  # type: ignore[no-untyped-def]
    """The middleware that checks Host, Origin and, beyond loopback, the key.

    A foreign page can reach a loopback server through the browser, by a name that it makes resolve to 127.0.0.1 or by a
    plain cross-site request; the first is caught by the Host header, the second by Origin and the content type.

    Args:
        key: a secret that the address must carry once (?key=…) and a cookie from then on; None on loopback.
    """
    own = {f"{name}:{port}" for name in LOOPBACK} | {name for name in LOOPBACK if port == 80}

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.headers.get("Host", "")
        if key is None and name not in own:
            return _refuse("Host")
        if request.method not in ("GET", "HEAD"):
            origin = urlsplit(request.headers.get("Origin", ""))
            if origin.scheme not in ("http", "https") or origin.netloc != name:
                return _refuse("Origin")
            if request.content_type != "application/json":
                return _refuse("Content-Type")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return _refuse("Sec-Fetch-Site")
        if key is not None and not _knows(request, key):
            return _refuse("key")
        response = await handler(request)
        if key is not None and not response.prepared and "key" in request.query:
            response.set_cookie(_COOKIE, key, httponly=True, samesite="Strict")
        return response

    return guard


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on every response, streamed ones and errors included."""
    for header, value in _HEADERS.items():
        response.headers[header] = value


def _knows(request: web.Request, key: str) -> bool:
    given = request.query.get("key") or request.cookies.get(_COOKIE, "")
    return hmac.compare_digest(given.encode(), key.encode())


def _refuse(what: str) -> web.Response:
    return web.json_response({"error": f"refused: {what}"}, status=403)
