"""The same view as a local page: one file that fetches the snapshot from this machine, and nothing else.

The server listens on the loopback only. A page of another site could still reach it under a name of its own that is
made to point here (DNS rebinding), so requests must name this host.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from raprune.console.snapshot import look
from raprune.console.watching import summary
from raprune.errors import RapruneError
from raprune.system.paths import PACKAGE

HOST = "127.0.0.1"
PAGE = PACKAGE / "console" / "page.html"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class WatchServer(ThreadingHTTPServer):
    """Serves the page of one study's folder at :attr:`address`; port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        super().__init__((HOST, port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer
    timeout = 30

    def do_GET(self) -> None:
        if self.headers.get("Host", "") not in (f"{HOST}:{self.server.port}", f"localhost:{self.server.port}"):
            self._answer(403, "text/plain", b"this page is for this machine only\n")
        elif self.path == "/":
            self._answer(200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif self.path == "/snapshot.json":
            self._answer(200, "application/json", self._snapshot())
        else:
            self._answer(404, "text/plain", b"there is nothing here\n")

    def _snapshot(self) -> bytes:
        try:
            found = summary(look(self.server.folder))
        except RapruneError as error:
            found = {"state": "unreadable", "head": str(error)}
        return json.dumps(found).encode()

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not printed."""
