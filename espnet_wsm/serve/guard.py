"""What stands before every answer: whose requests are taken, how large they may be, which headers go out."""

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page takes scripts, styles and data from this server alone, and plays what the browser holds already.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-store",
}
MEGABYTE = 1_000_000


class Guard:
    """Any page that a browser shows may send requests to 127.0.0.1, also by a name that it has made to lead
    there (DNS rebinding).

    So a request has to name this server as its host, by an address or its own name, and where the browser
    says from which page it comes, that has to be this server's. Bodies are counted as they arrive.

    Args:
        app: what answers.
        host: the address or name that the server listens at.
        most_bytes: of a body.
    """

    def __init__(self, app: ASGIApp, host: str, most_bytes: int):
        self.app, self.most_bytes = app, most_bytes
        self.local = is_loopback(host)
        self.names = {"localhost"}
        if not self.local:
            own = socket.gethostname().lower()
            self.names |= {host.lower(), own, f"{own}.local", socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if refusal := self._refuse(scope):
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
                return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most_bytes:
                raise HTTPException(413, self._too_large())
            return message

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if refusal := self._refuse(scope):
            status, sentence = refusal
            await JSONResponse({"error": sentence}, status)(scope, receive, send_guarded)
        else:
            await self.app(scope, receive_counted, send_guarded)

    def _refuse(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):
            return 421, "this server is not called so: open it by its address"
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "requests of other pages are refused: open the page of this server"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope.get("method") != "GET":
            return 403, "requests of other pages are refused: open the page of this server"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.most_bytes:
            return 413, self._too_large()
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return address.is_loopback or not self.local

    def _too_large(self) -> str:
        return (
            f"more than {self.most_bytes // MEGABYTE} MB: send a shorter recording or a compressed one, or "
            "start the server with a larger --max_megabytes"
        )


def is_loopback(host: str) -> bool:
    """Whether an address or name is reached from this computer alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
