"""`serve(path)`: one file, or what is still arriving from a URL, under an address of its own."""

from collections.abc import Collection

from vidnb.download.stream import Stream, is_url
from vidnb.http.allowed_hosts import LOOPBACK
from vidnb.io.regular_file import StrPath
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
    """Serve one regular file on 127.0.0.1 under an address that nobody can guess.

    `path` may be an http(s) URL too: then the file is fetched into the user's cache while it is
    served, so any program on this machine can read it at once and anywhere; what is not here yet is
    held for, never answered "not yet". Raises what `vidnb.download` raises where that fails before
    the size is known; later the connections close. Closing what is served stops the fetching.

    Ranges, conditions and validators are answered as RFC 9110 says. `max_partial_bytes` (B) cuts
    each answer to a single range (206), for readers in between that collect an answer before they
    pass it on; a plain 200 stays whole. Browsers ask on for the rest, ffmpeg takes it for the end.
    The file is found anew at each request, so one that is replaced is served anew; serving it twice
    makes two addresses.

    `host` is an address or a name of this machine, for people who know who else can reach it: the
    connection is not encrypted, and whoever learns the address reads the file. A server of its own
    listens there, which answers for this file to `host`, to any IP address and to loopback's names.
    `allowed_hosts` are further names under which a browser may ask, such as a reverse proxy's;
    with `host="0.0.0.0"` or `"::"`, which no browser can ask, the first of them stands in the
    address, or else loopback. All other names get the same 404 as a wrong address.

    `ServeError` where the path is missing, unreadable or no regular file, or the server cannot
    start; `ValueError` for a cap below 1 B and for a `host` or a name that is none.
    """

    def make() -> tuple[Source, int]:
        if is_url(path):
            stream = Stream(path)
            return PartialSource(stream), stream.opened()
        source = FileSource(path)
        return source, source.size_bytes

    return register(
        make, max_partial_bytes=max_partial_bytes, host=host, allowed_hosts=allowed_hosts
    )
