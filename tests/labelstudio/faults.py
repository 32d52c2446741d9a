"""A proxy before a real server that loses, delays and refuses what it is told to.

    with Proxy(url, [Fault("POST .*/import", status=500, after=True)]) as proxy:
        Client(proxy.url, token)

`after` lets the server do its work first: then only the answer is lost, which is what makes repeating a call dangerous.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What belongs to one connection and not to the message; the body is passed on whole, so its coding goes, too.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding"}


@dataclass
class Fault:
    """What happens to requests that match.

    Attributes:
        match: pattern of `METHOD /path?query`, found anywhere in it.
        status: answer this instead; 0 resets the connection, 200 passes the server's own answer on (with `slow`).
        times: so many requests, then no more.
        after: the server has done what was asked before the answer is lost.
        slow: seconds before the answer.
        headers: of the answer.
    """

    match: str = ""
    status: int = 0
    times: int = 1
    after: bool = False
    slow: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"detail": "as the test wants it"}'


class Proxy:
    """The proxy, running while it is a context.

    Attributes:
        url: its address.
        seen: `METHOD /path?query` of each request, faulty or not.
    """

    def __init__(self, server: str, faults: Iterable[Fault] = ()) -> None:
        self.faults = list(faults)
        self.seen: list[str] = []
        self._upstream = urlsplit(server).netloc
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _fault(self, line: str) -> Fault | None:
        with self._lock:
            self.seen.append(line)
            for fault in self.faults:
                if fault.times and re.search(fault.match, line):
                    fault.times -= 1
                    return fault
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy._fault(f"{self.command} {self.path}")
                if fault is None:
                    return self.send(*self.forward(body))
                passed = self.forward(body) if fault.after or fault.status == 200 else None
                time.sleep(fault.slow)
                if fault.status == 200 and passed:
                    return self.send(*passed)
                if fault.status:
                    return self.send(fault.status, fault.headers, fault.body)
                # Closing with a zero linger time sends a reset in place of an end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return self.connection.close()

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815 (http.server's names)

            def forward(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
                kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                there = http.client.HTTPConnection(proxy._upstream, timeout=120)
                try:
                    there.request(self.command, self.path, body or None, kept)
                    answer = there.getresponse()
                    return answer.status, dict(answer.getheaders()), answer.read()
                finally:
                    there.close()

            def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler
