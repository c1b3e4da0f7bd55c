"""Unreliable web servers, the origins of the notebooks `download` and `many`.

`FlakyOrigin` serves one file. It supports range requests and `If-Range` with a strong ETag, but
closes the connection in the middle of its next `interruptions` responses. `FlakyFolder` serves the
files of a folder, some of them not at all before it is repaired.
"""

import hashlib
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FlakyOrigin:
    """Serve one file on 127.0.0.1; `requested_ranges` lists the Range fields that arrived."""

    def __init__(self, path: Path, interruptions: int = 0) -> None:
        self.interruptions = interruptions
        self.requested_ranges: list[str] = []
        self.data = path.read_bytes()
        self.etag = f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self._server.server_port}"
        self.url, self.page_url = f"{address}/film.mp4", f"{address}/page.mp4"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                origin.respond(self)

            def log_message(self, *_: object) -> None:
                """Write no log into the notebook."""

        return Handler

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        """Send the response, or its first half."""
        if request.path == "/page.mp4":
            body, status, media_type, start = b"<html>Please log in", 200, "video/mp4", 0
        elif request.path != "/film.mp4":
            body, status, media_type, start = b"", 404, "text/plain", 0
        else:
            body, status, media_type = self.data, 200, "video/mp4"
            start = self._first_byte(request)
            status = 206 if start else 200
        request.send_response(status)
        request.send_header("Content-Type", media_type)
        request.send_header("Content-Length", str(len(body) - start))
        request.send_header("ETag", self.etag)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.end_headers()
        stop = len(body)
        if request.path == "/film.mp4" and self.interruptions:
            self.interruptions -= 1
            stop = (start + stop) // 2
            request.close_connection = True
        request.wfile.write(body[start:stop])

    def _first_byte(self, request: BaseHTTPRequestHandler) -> int:
        field = request.headers.get("Range", "")
        self.requested_ranges.append(field or "everything")
        first = field.removeprefix("bytes=").removesuffix("-")
        is_same = request.headers.get("If-Range", self.etag) == self.etag
        return int(first) if first.isdigit() and is_same else 0


class FlakyFolder:
    """Serve the files of a folder on 127.0.0.1; `requests` counts the requests.

    The first response for every seventh file is 503, that for every ninth ends in the middle. The
    files named in `missing` are answered 404 until `repair` is called.
    """

    def __init__(self, folder: Path, missing: Iterable[str] = ()) -> None:
        self.requests = 0
        self._files = {f"/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
        self._missing = {f"/{name}" for name in missing}
        self._faults = dict.fromkeys(list(self._files)[::7], "503")
        self._faults |= dict.fromkeys(list(self._files)[::9], "cut")
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self._server.server_port}"
        self.urls = [f"{address}{path}" for path in self._files]

    def repair(self) -> None:
        """Serve all files."""
        self._missing.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections are reused

            def do_GET(self) -> None:
                origin.respond(self)

            def log_message(self, *_: object) -> None:
                """Write no log into the notebook."""

        return Handler

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        """Send a file, half of it, or an error."""
        with self._lock:
            self.requests += 1
            fault = self._faults.pop(request.path, "")
        body = self._files.get(request.path)
        if body is None or request.path in self._missing:
            request.send_error(404)
            return
        if fault == "503":
            request.send_error(503)
            return
        request.send_response(200)
        request.send_header("Content-Type", "video/mp4")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if fault else body)
        request.close_connection = bool(fault)
