"""The resources of a server by their secret tokens."""

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Protocol
from urllib.parse import quote

from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.server.pages import page
from vidnb.server.segment_stream import SegmentStream, SegmentStreams, WithdrawableStream
from vidnb.server.source_streams import SourceStreams, playback_of
from vidnb.server.source_version import SourceVersion
from vidnb.server.sources import Source

__all__ = ["FileResource", "PageResource", "Registry", "Resource"]

logger = logging.getLogger(__name__)


class Resource(Protocol):
    """What tokens open: a file, the list of a folder, or a message endpoint, on some `hosts`."""

    hosts: AllowedHosts

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens that open it."""

    def end(self) -> set[asyncio.Task[Any]]:
        """Release everything; return the tasks that end now. On the server's loop."""


class PageResource(Resource, Protocol):
    """A resource with a page, which `page_token` opens; `OSError` where it is gone."""

    page_token: str

    async def page(self) -> page.HtmlPage:
        """Return the page."""


@dataclass(eq=False, slots=True)
class FileResource:
    """One served file: its source, its two unguessable tokens, and the responses that run.

    `max_partial_bytes` cuts each 206 (B), `back` is the URL that its page leads back to, relative
    to the page; empty for none. `streams` has its segments, for what does not play the file itself.
    """

    source: Source
    max_partial_bytes: int | None = None
    hosts: AllowedHosts = field(default_factory=AllowedHosts)
    back: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    answered: Counter[int] = field(default_factory=Counter)
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    quoted_name: str = field(init=False)
    streams: SegmentStreams = field(init=False)
    opened: dict[str, SegmentStream | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.streams = SourceStreams(self.source)
        self.quoted_name = quote(self.source.name.encode("utf-8", "surrogateescape"), safe="")

    @property
    def path(self) -> str:
        """The path of the file's URL, without its first slash."""
        return f"{self.token}/{self.quoted_name}"

    @property
    def tokens(self) -> tuple[str, ...]:
        """The file's token and its page's."""
        return self.token, self.page_token

    def stream(self, variant: str) -> SegmentStream | None:
        """Return the stream of a variant, which is closed with the file."""
        if variant not in self.opened:
            self.opened[variant] = self.streams.stream(variant)
        return self.opened[variant]

    async def read_part(self, variant: str, name: str) -> bytes | None:
        """Return the playlist or a segment of a variant once it is made; None if there is none.

        On the server's loop. Cancelling withdraws the request, where the stream can do that. A
        `VidnbError` with a sentence if it cannot be made.
        """
        stream = self.stream(variant)
        if stream is None:
            return None
        if isinstance(stream, WithdrawableStream):
            return await stream.fetch(name)
        return await asyncio.to_thread(stream.read, name)

    async def page(self) -> page.HtmlPage:
        """Return the player page, with the size that the file has now."""
        version = await self.source.version()
        size_bytes, tag = version.size_bytes, version.validator.opaque
        version.close()
        playback = await playback_of(SourceVersion(self.source, tag))
        return page.player(
            self.source.name,
            f"../{self.path}",
            size_bytes,
            self.back,
            deliveries=playback.as_dicts(),
            problem=playback.problem,
        )

    def count(self, method: str, status: int) -> None:
        """Count a response."""
        self.answered[status] += 1
        logger.debug("%s %r: %d", method, self.source.name, status)

    def end(self) -> set[asyncio.Task[Any]]:
        """Cancel the responses that run, close the file, and return the tasks that end now."""
        for stream in self.opened.values():
            if stream is not None:
                stream.close()
        self.source.close()
        for task in self.running:
            task.cancel()
        return set(self.running)


class Registry:
    """The resources of one server by token; added and removed from any thread."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._resources: dict[bytes, tuple[bytes, Resource]] = {}

    def add(self, resource: Resource) -> None:
        """Serve `resource`."""
        for token in map(str.encode, resource.tokens):
            self._resources[self._digest(token)] = token, resource

    def remove(self, resource: Resource) -> None:
        """Free all tokens of `resource`, if that was not done before."""
        for token in resource.tokens:
            self._resources.pop(self._digest(token.encode()), None)

    def find(self, token: bytes) -> Resource | None:
        """Return what a token opens, in constant time: an attacker cannot choose keyed digests."""
        known, resource = self._resources.get(self._digest(token), (b"", None))
        return resource if compare_digest(known, token) else None

    def resources(self) -> set[Resource]:
        """Return all resources."""
        return {resource for _, resource in tuple(self._resources.values())}

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._key, digest_size=16).digest()
