"""What is served, and what opens it: a `Resource` with a page, an `FileResource` with a file as well."""

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
from vidnb.server.sources import Source

__all__ = ["FileResource", "Registry", "Resource"]

logger = logging.getLogger(__name__)


class Resource(Protocol):
    """What a token opens: a page, and for an `FileResource` its file too."""

    page_token: str
    hosts: AllowedHosts

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens that open it."""

    async def page(self) -> page.HtmlPage:
        """Return the page of `page_token`. `OSError`: what it shows is gone."""

    def end(self) -> set[asyncio.Task[Any]]:
        """Let go of everything; return the tasks that end now. On the server's loop."""


@dataclass(eq=False, slots=True)
class FileResource:
    """One served file: its source, its two unguessable tokens, and the answers that run."""

    source: Source
    size_bytes: int
    max_partial_bytes: int | None
    hosts: AllowedHosts = field(default_factory=AllowedHosts)
    back: str = ""  # where its page leads back to, relative to the page; empty for nowhere
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    answered: Counter[int] = field(default_factory=Counter)
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    quoted_name: str = field(init=False)

    def __post_init__(self) -> None:
        self.quoted_name = quote(self.source.name.encode("utf-8", "surrogateescape"), safe="")

    @property
    def path(self) -> str:
        """The path of the file's URL, without its first slash."""
        return f"{self.token}/{self.quoted_name}"

    @property
    def tokens(self) -> tuple[str, ...]:
        """The file's token and its page's."""
        return self.token, self.page_token

    async def page(self) -> page.HtmlPage:
        """Return the player page."""
        return page.player(self.source.name, f"../{self.path}", self.size_bytes, self.back)

    def note(self, method: str, status: int) -> None:
        """Count an answer that is given."""
        self.answered[status] += 1
        logger.debug("%s %r: %d", method, self.source.name, status)

    def end(self) -> set[asyncio.Task[Any]]:
        """Cut off the answers that run, let go of the file, and return the tasks that end now.

        On the server's loop. The tasks are cancelled, never their connections: aborted in the
        middle of a sendfile, asyncio would keep the dead descriptor in its selector, and the next
        connection with that number would hang.
        """
        self.source.close()
        for task in self.running:
            task.cancel()
        return set(self.running)


class Registry:
    """What is served, by token; added and removed from any thread."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._places: dict[bytes, tuple[bytes, Resource]] = {}

    def add(self, place: Resource) -> None:
        """Serve `place`, and its page, from now on."""
        for token in place.tokens:
            self._places[self._digest(token.encode())] = token.encode(), place

    def remove(self, place: Resource) -> None:
        """Free all its tokens at once; a second time is no harm."""
        for token in place.tokens:
            self._places.pop(self._digest(token.encode()), None)

    def find(self, token: bytes) -> Resource | None:
        """Return what a token opens, in a time that tells nothing about the tokens there are.

        The dictionary compares keyed digests, which a guesser cannot steer.
        """
        known, place = self._places.get(self._digest(token), (b"", None))
        return place if compare_digest(known, token) else None

    def places(self) -> set[Resource]:
        """Return all that is served."""
        return {place for _, place in tuple(self._places.values())}

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._key, digest_size=16).digest()
