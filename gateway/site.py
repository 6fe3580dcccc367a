"""The chat page at `/`, and the local stack's tokens for it. Nothing here is needed by clients."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import orjson
from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

PAGE = Path(str(files("gateway").joinpath("page")))
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")

MakeToken = Callable[[str, str], str]
"""A token for a tenant and a subject. Raises `ValueError` for malformed ones."""


class TokenRequest(BaseModel):
    """Who the page wants to be."""

    tenant: Annotated[str, Field(max_length=63)] = "demo"
    sub: Annotated[str, Field(min_length=1, max_length=64)] = "guest"


def add_site(app: web.Application, make_token: MakeToken | None) -> None:
    """Adds the page; with `make_token` also `POST /dev/token`, for this machine only."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / "index.html", headers=SECURITY_HEADERS)

    async def with_headers(_: web.Request, response: web.StreamResponse) -> None:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)

    app.router.add_get("/", index)
    app.router.add_static("/page/", PAGE)
    app.on_response_prepare.append(with_headers)
    if make_token is not None:
        app.router.add_post("/dev/token", _token_route(make_token))


def _token_route(make_token: MakeToken) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def token(request: web.Request) -> web.Response:
        if not from_this_machine(request):
            raise web.HTTPForbidden(text="development tokens are for pages of this machine only\n")
        try:
            asked = TokenRequest.model_validate_json(await request.read() or b"{}")
            made = make_token(asked.tenant, asked.sub)
        except (ValidationError, ValueError):
            raise web.HTTPBadRequest(
                text="send {tenant: a-z 0-9 -, sub: 1 to 64 characters}\n"
            ) from None
        return web.Response(body=orjson.dumps({"token": made}), content_type="application/json")

    return token


def from_this_machine(request: web.Request) -> bool:
    """Whether the asker and the page it shows are local.

    The `Host` is looked at as well, since a foreign name can be made to point to this machine,
    and the origin, since any page may post to loopback.
    """
    if any(name in request.headers for name in PROXY_HEADERS):
        return False
    origin = request.headers.get("Origin")
    if origin is not None and _split(origin).netloc != request.host:
        return False
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    name = _split(f"//{request.host}").hostname or ""
    return _is_loopback(request.remote or "") and (name == "localhost" or _is_loopback(name))


def _split(address: str) -> SplitResult:
    """The parts of an address; none of one that is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
