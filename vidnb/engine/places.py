"""What is served, and what opens it: a `Place` with a page, an `Entry` with a file as well."""

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Protocol
from urllib.parse import quote

from vidnb.core.hosts import HostNames
from vidnb.engine import page
from vidnb.engine.sources import Source

__all__ = ["Entry", "Place", "Registry"]

logger = logging.getLogger(__name__)


class Place(Protocol):
    """What a token opens: a page, and for an `Entry` its file too."""

    page_token: str
    hosts: HostNames

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens that open it."""

    async def page(self) -> page.Page:
        """Return the page of `page_token`. `OSError`: what it shows is gone."""

    def end(self) -> set[asyncio.Task[Any]]:
        """Let go of everything; return the tasks that end now. On the server's loop."""


@dataclass(eq=False, slots=True)
class Entry:
    """One served file: its source, its two unguessable tokens, and the answers that run."""

    source: Source
    size_bytes: int
    max_partial_bytes: int | None
    hosts: HostNames = field(default_factory=HostNames)
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

    async def page(self) -> page.Page:
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
        self._places: dict[bytes, tuple[bytes, Place]] = {}

    def add(self, place: Place) -> None:
        """Serve `place`, and its page, from now on."""
        for token in place.tokens:
            self._places[self._digest(token.encode())] = token.encode(), place

    def remove(self, place: Place) -> None:
        """Free all its tokens at once; a second time is no harm."""
        for token in place.tokens:
            self._places.pop(self._digest(token.encode()), None)

    def find(self, token: bytes) -> Place | None:
        """Return what a token opens, in a time that tells nothing about the tokens there are.

        The dictionary compares keyed digests, which a guesser cannot steer.
        """
        known, place = self._places.get(self._digest(token), (b"", None))
        return place if compare_digest(known, token) else None

    def places(self) -> set[Place]:
        """Return all that is served."""
        return {place for _, place in tuple(self._places.values())}

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._key, digest_size=16).digest()
