"""`serve(path)`: one file, or a URL that is being downloaded, under a URL of its own."""

from collections.abc import Collection

from vidnb.download.stream import Stream, is_url
from vidnb.http.allowed_hosts import LOOPBACK
from vidnb.io.regular_file import StrPath, expand_user
from vidnb.server.partial_source import PartialSource
from vidnb.server.server import Served, register
from vidnb.server.sources import FileSource, Source

__all__ = ["serve"]


def serve(
    path: StrPath,
    *,
    max_partial_bytes: int | None = None,
    host: str = LOOPBACK,
    allowed_hosts: Collection[str] = (),
) -> Served:
    """Serve one regular file on 127.0.0.1 under a URL that cannot be guessed.

    `path` may be an http(s) URL too: the file is downloaded into the user's cache while it is
    served, so any program on this machine can read any part of it at once; a response waits for
    bytes that are not stored yet. Raises what `vidnb.download` raises where that fails before the
    size is known; later the connections close. Closing what is served stops the download.

    Ranges, conditions and validators follow RFC 9110. `max_partial_bytes` (B) limits each 206 for a
    single range, for proxies that collect a response before they pass it on; a 200 stays whole.
    Browsers request the rest, ffmpeg takes it for the end. The file is found again at each request,
    so a replacement is served; serving it twice makes two URLs.

    `host` is an address or a name of this machine. The connection is not encrypted, and the secret
    URL is the only access control. Another server listens there, which accepts requests for this
    file under `host`, any IP address and loopback's names. `allowed_hosts` are further names that
    it accepts, such as a reverse proxy's; with `host="0.0.0.0"` or `"::"` the first of them, or
    else loopback, is the host of the URL. All other names get the same 404 as a wrong URL.

    `ServeError` where the path is missing, unreadable or no regular file, or the server cannot
    start; `ValueError` for a limit below 1 B and for an invalid `host` or name.
    """

    def make() -> tuple[Source, int]:
        if is_url(path):
            stream = Stream(path)
            return PartialSource(stream), stream.wait_for_size()
        source = FileSource(expand_user(path))
        return source, source.size_bytes

    return register(
        make, max_partial_bytes=max_partial_bytes, host=host, allowed_hosts=allowed_hosts
    )
