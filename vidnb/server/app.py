"""The request handler: check token, Host and method, and respond with what `build_response` says.

`protocol` reads the requests, `response_writer` sends the responses.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Coroutine, Mapping
from contextlib import closing
from hmac import compare_digest
from typing import Any, Final, Literal, TypeAlias, cast
from urllib.parse import unquote_to_bytes

from vidnb.errors import VidnbError
from vidnb.http.allowed_hosts import is_disallowed_host, partial_limit_bytes
from vidnb.http.media_types import media_type_of
from vidnb.http.range_response import RangeResponse, build_response
from vidnb.http.request_head import RequestHead
from vidnb.io.calls import DaemonThreads
from vidnb.media.playlist import INIT_NAME, PLAYLIST_NAME
from vidnb.server.message_endpoint import PREFIX, MessageEndpoint
from vidnb.server.protocol import HttpConnection
from vidnb.server.registry import FileResource, PageResource, Registry
from vidnb.server.response_writer import ResponseWriter, fill, new_memory, write_head
from vidnb.server.routes import ANY_FILE_NAME
from vidnb.server.segment_stream import SegmentPath, parse_segment_path
from vidnb.server.sources import ChangedError, FileSource, OpenVersion, StoredBytes

__all__ = ["App"]

MESSAGE_THREADS: Final = 8
"""The number of message handlers that run at the same time."""

_PAGE: Final = "page"
_Below: TypeAlias = SegmentPath | Literal["page"] | None
"""What a path names below the token of a file: a part of a stream, the page, or the file itself."""

_ORIGIN: Final = re.compile(r"[\x21-\x7e]{1,512}")

_CACHE_CONTROL: Final = "Cache-Control: private, no-cache\r\n"
_EXPOSED: Final = (
    "Access-Control-Expose-Headers: "
    "Accept-Ranges, Content-Length, Content-Range, Content-Type, Date, ETag, Last-Modified\r\n"
)
_PREFLIGHT: Final = (
    ("Allow", "GET, HEAD, OPTIONS"),
    ("Access-Control-Allow-Methods", "GET, HEAD"),
    (
        "Access-Control-Allow-Headers",
        "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since",
    ),
    ("Access-Control-Max-Age", "600"),
)


def _cors(fields: Mapping[str, str]) -> str:
    """Let the requesting origin, and no other, read the response; never with credentials."""
    origin = fields.get("origin")
    if origin is None or not _ORIGIN.fullmatch(origin):
        return "Vary: Origin\r\n"
    return f"Vary: Origin\r\nAccess-Control-Allow-Origin: {origin}\r\n{_EXPOSED}"


class App:
    """The request handler of one server, and its connections; on the server's loop."""

    def __init__(self, registry: Registry) -> None:
        self.connections: set[HttpConnection] = set()
        self.memory = new_memory()
        self._registry = registry
        self._threads = DaemonThreads("vidnb-messages", MESSAGE_THREADS)

    def close(self) -> None:
        """Drop all connections."""
        for connection in tuple(self.connections):
            connection.transport.abort()
        self._threads.shutdown()

    def handle_request(self, connection: HttpConnection) -> Coroutine[Any, Any, None] | None:
        """Respond to `connection.response.request`, or return a coroutine that does."""
        response = connection.response
        request, fields = response.request, response.request.fields
        if request.path.startswith(PREFIX):
            return self._receive_message(connection)
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            response.keep_alive = False  # its body is not read
            response.send_status(405, "Allow: GET, HEAD, OPTIONS\r\n")
            return None
        resource, below = self._find(request.path)
        if resource is None or is_disallowed_host(request.authority, fields, resource.hosts):
            response.send_status(404)
            return None
        cors = _cors(fields)
        if request.method == "OPTIONS":
            response.send(204, _PREFLIGHT, cors)
            return None
        if below is _PAGE:
            return _send_page(resource, response, cors)
        file = cast("FileResource", resource)
        if isinstance(below, SegmentPath):
            return _send_segment(file, below, response, cors)
        more = _CACHE_CONTROL + cors + response.connection_field
        return self._send_file(file, response, more)

    def _receive_message(self, connection: HttpConnection) -> Coroutine[Any, Any, None] | None:
        request = connection.response.request
        token, _, name = request.path.removeprefix(PREFIX).partition("/")
        found = self._registry.find(f"{PREFIX[1:]}{token}".encode())
        if found is None or is_disallowed_host(request.authority, request.fields, found.hosts):
            connection.response.send_status(404)
            return None
        endpoint = cast("MessageEndpoint", found)
        return endpoint.respond(name, connection, _cors(request.fields), self._threads)

    def _find(self, path: str) -> tuple[PageResource | None, _Below]:
        """Return what a path opens, and what it names below its token."""
        before, _, relative = path.partition("/")
        token, slash, name = relative.partition("/")
        found = self._registry.find(token.encode())
        if found is None or before or not slash:
            return None, None
        # Not `isinstance`: after a reload of its module, an older resource is of another class.
        resource = cast("PageResource", found)
        if compare_digest(token, resource.page_token):
            return (None if name else resource), _PAGE
        file = cast("FileResource", found)
        if name == file.quoted_name:  # as our own URL has it
            return file, None
        own_name = file.source.name.encode("utf-8", "surrogateescape")
        if name == ANY_FILE_NAME or unquote_to_bytes(name) == own_name:
            return file, None
        part = parse_segment_path(name)
        return (None, None) if part is None else (file, part)

    def _send_file(
        self, resource: FileResource, response: ResponseWriter, more: str
    ) -> Coroutine[Any, Any, None] | None:
        """Send a small response at once if the file was checked lately and is in memory."""
        source = resource.source
        version = source.version_at_once() if isinstance(source, FileSource) else None
        if version is not None:
            with closing(version):
                judged = _judge(resource, response.request, version)
                head = write_head(judged.status, judged.headers, more)
                filled = fill(self.memory, head, judged.body, version)
            if filled is not None:
                resource.count(response.request.method, judged.status)
                response.transport.write(filled)
                if response.is_paused:  # the rest of the memory is left to asyncio
                    self.memory = new_memory()
                return None
        return _send_in_task(resource, response, more)


async def _send_segment(
    resource: FileResource, part: SegmentPath, response: ResponseWriter, cors: str
) -> None:
    """Send a part of a stream, once it is made.

    404 where there is none, 422 with a sentence where it cannot be made (RFC 9110 section
    15.5.21): a 5xx would make players request it again.
    """
    _note_task(resource)
    response.is_being_made = True
    try:
        data = await resource.read_part(*part)
    except VidnbError as error:
        resource.count(response.request.method, 422)
        fields = (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"))
        response.send(422, fields, cors, f"{error}\n".encode("utf-8", "replace"))
        return
    finally:
        response.is_being_made = False
    if data is None:
        response.send_status(404, cors)
        return
    version = await asyncio.to_thread(StoredBytes, data)
    media_type = media_type_of(PLAYLIST_NAME if part.name == PLAYLIST_NAME else INIT_NAME)
    judged = _judge(resource, response.request, version, media_type)
    resource.count(response.request.method, judged.status)
    more = _CACHE_CONTROL + cors + response.connection_field
    await response.send_response(judged, more, version)


def _judge(
    resource: FileResource, request: RequestHead, version: OpenVersion, media_type: str = ""
) -> RangeResponse:
    return build_response(
        request.method,
        request.fields,
        version.size_bytes,
        version.validator,
        version.modified_s,
        now_s=time.time(),
        media_type=media_type or resource.source.media_type,
        # Only several ranges need one, which must not occur in the file.
        boundary=secrets.token_hex(16) if "," in request.fields.get("range", "") else "-",
        max_partial_bytes=partial_limit_bytes(request.fields, resource.max_partial_bytes),
    )


def _note_task(resource: FileResource) -> None:
    """Let the end of the resource cancel the response of the current task."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    resource.running.add(task)
    task.add_done_callback(resource.running.discard)


async def _send_in_task(resource: FileResource, response: ResponseWriter, more: str) -> None:
    _note_task(resource)
    try:
        version = await resource.source.version()
    except (OSError, ValueError):  # it was there when it was registered
        response.send_status(404)
        return
    with closing(version):
        judged = _judge(resource, response.request, version)
        resource.count(response.request.method, judged.status)
        await response.send_response(judged, more, version)


async def _send_page(resource: PageResource, response: ResponseWriter, cors: str) -> None:
    try:
        html, policy = await resource.page()
    except (OSError, ValueError, ChangedError):  # what it shows was there once
        response.send_status(404)
        return
    fields = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("Cache-Control", "no-store"),
    )
    response.send(200, fields, cors, html)
