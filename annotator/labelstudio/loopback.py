"""A small server of JSON on loopback: what it cannot use is answered with one line, never with a traceback.

The line is the answer's reason phrase as well, since that is all that some clients pass on.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from annotator.errors import AnnotatorError, InputError, expected

HOST = "127.0.0.1"
LARGEST = 64 * 2**20  # bytes of a request; a task with a hundred people and as many drafts has a tenth of it
PATIENCE_S = 60.0  # for a request that does not come to an end
SHOWN = 400  # letters of a reason phrase
Answer = dict[str, Any]
Routes = Mapping[tuple[str, str], Callable[[Answer], Answer]]


class RequestError(InputError):
    """A request that cannot be used; `status` is HTTP's."""

    def __init__(self, what: str, got: object, where: str, status: int = 400) -> None:
        super().__init__(expected(what, got, where))
        self.status = status


@contextmanager
def serving(routes: Routes, port: int) -> Iterator[str]:
    """Answer while the context lasts; gives the address.

    Args:
        routes: (method, path) -> from the request's object to the answer's; errors of ours become 4xx and 503.
        port: on loopback; 0 takes one that is free.

    Raises:
        InputError: the port is taken.
    """
    try:
        http = _Server((HOST, port), _Handler)
    except (OSError, OverflowError) as error:
        raise InputError(expected("a free port", f"{port}: {error}", HOST)) from error
    http.routes = routes
    thread = threading.Thread(target=http.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def in_one_line(error: BaseException | None) -> str:
    """What an error says."""
    return " ".join(str(error).split()) or type(error).__name__


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    routes: Routes

    def handle_error(self, *_: Any) -> None:
        """One line, and none where the other side has gone."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"annotator: {in_one_line(error)}", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE_S
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing: a request may hold a token."""

    def do_GET(self) -> None:
        """Answer a request without a body."""
        self._do(dict)

    def do_POST(self) -> None:
        """Answer a request with one."""
        self._do(self._body)

    def send_error(self, code: int, message: str | None = None, *_: Any, **__: Any) -> None:
        """What http.server itself refuses, as we do."""
        self.close_connection = True
        self._answer(code, {"error": message or str(code)})

    def _do(self, read: Callable[[], Answer]) -> None:
        try:
            route = self._route()
            status, answer = 200, route(read())
        except RequestError as error:
            status, answer = error.status, {"error": in_one_line(error)}
            self.close_connection = True  # its body may not have been read
        except AnnotatorError as error:
            status, answer = (400 if isinstance(error, InputError) else 503), {"error": in_one_line(error)}
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # whatever it is, the other side goes on without us
            status, answer = 500, {"error": f"unexpected {type(error).__name__}: {in_one_line(error)}"}
        if status >= 500:
            print(f"annotator: {answer['error']}", file=sys.stderr, flush=True)
        self._answer(status, answer)

    def _route(self) -> Callable[[Answer], Answer]:
        path = self.path.partition("?")[0].rstrip("/") or "/"
        if route := self.server.routes.get((self.command, path)):
            return route
        if allowed := sorted({method for method, known in self.server.routes if known == path}):
            raise RequestError(" or ".join(allowed), self.command, path, 405)
        raise RequestError(f"one of {', '.join(sorted({known for _, known in self.server.routes}))}", path, "path", 404)

    def _body(self) -> Answer:
        """The request's JSON object."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RequestError("Content-Length", length or "none", self.path, 411)
        if int(length) > LARGEST:
            raise RequestError(f"at most {LARGEST} bytes", length, self.path, 413)
        try:
            asked = json.loads(self.rfile.read(int(length)) or b"{}")
        except (ValueError, RecursionError) as error:
            raise RequestError("JSON", in_one_line(error), self.path) from error
        if not isinstance(asked, dict):
            raise RequestError("a JSON object", type(asked).__name__, self.path)
        return asked

    def _answer(self, status: int, body: Answer) -> None:
        data = json.dumps(body).encode()
        told = " ".join(str(body["error"]).split()) if status >= 400 else ""
        self.send_response(status, told.encode("latin-1", "replace").decode("latin-1")[:SHOWN] or None)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
