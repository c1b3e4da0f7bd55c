"""One transfer, driven: commands become requests and writes, what they bring observations.

Everything here happens on one event loop, and `_tell` is a plain function: between an observation
and the last of its commands nothing else runs, so the planner never sees a stale world.
"""

import asyncio
import errno
import random
import time
from collections.abc import Callable

from vidnb.core import container
from vidnb.core.alphabet import (
    Cancel,
    Command,
    Complete,
    Ended,
    Fetch,
    GiveUp,
    Keep,
    Lost,
    Observation,
    Opened,
    Received,
    Restart,
    Stored,
    Ticked,
    TimerFired,
    Wait,
)
from vidnb.core.spans import Span
from vidnb.core.transfer import Transfer
from vidnb.engine.checks import HEAD_BYTES
from vidnb.engine.slots import Share
from vidnb.engine.watch import Phase, Watch
from vidnb.engine.writer import Writer
from vidnb.io import blocks
from vidnb.io.files import Room
from vidnb.io.hop import hop
from vidnb.io.http import ConnectionFault, HttpAnswer, HttpClient

__all__ = ["Drive", "Page"]

_LITTLE_BYTES = 2**20
"""For less than this the disk is not asked again: that takes as long as fetching it."""

_TICK_S = 0.05
"""How often the planner is told that time passes."""


class Page(Exception):  # noqa: N818 - not a failure of ours: the origin sent a page
    """The first bytes are those of a page; `title` is its title, if it has one.

    `is_stored` says that some of the page went to the disk before it was known for one.
    """

    def __init__(self, kind: str, title: str | None, *, is_stored: bool) -> None:
        super().__init__(kind)
        self.kind = kind
        self.title = title
        self.is_stored = is_stored


class Drive:
    """Carry one `Transfer` out. `final_url`, `media_type` and `disposition` are the origin's.

    `room_before` is what the disk took when the download began; `room` tells what it takes now, may
    block and runs in a thread.

    With `check_video` nothing of a file is written before its first bytes (`HEAD_BYTES`) were
    judged: a page in place of the rest costs nothing of what an earlier run left.

    A request is made as soon as `share` has a connection for it.
    """

    def __init__(
        self,
        transfer: Transfer,
        client: HttpClient,
        watch: Watch,
        *,
        url: str,
        headers: dict[str, str],
        idle_timeout_s: float,
        check_video: bool,
        room_before: Room,
        room: Callable[[], Room],
        share: Share,
    ) -> None:
        self.transfer = transfer
        self.final_url = url
        self.media_type: str | None = None
        self.disposition: str | None = None
        self._client = client
        self._watch = watch
        self._url = url
        self._headers = headers
        self._idle_timeout_s = idle_timeout_s
        self._room_before = room_before
        self._room = room
        self._share = share
        self._check_video = check_video
        self._head = bytearray() if check_video and not transfer.stored else None
        self._held: list[tuple[Span, bytes]] = []
        self._has_begun = bool(transfer.stored)
        self._fetches: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._end: asyncio.Future[Complete | GiveUp] = asyncio.get_running_loop().create_future()
        self._writer: Writer | None = None

    def stored(self, span: Span, generation: int) -> None:
        """Hear from the writer that bytes are on disk."""
        self._tell(Stored(span, generation))

    async def run(self, writer: Writer) -> Complete | GiveUp:
        """Run to the end. Whatever ends it early, every received byte is written first."""
        self._writer = writer
        writing = asyncio.create_task(writer.run(), name="vidnb writer")
        writing.add_done_callback(self._fail_with)
        try:
            self._obey(self.transfer.start(), b"")
            self._tick_later()
            self._watch.view.feed.begin(self.transfer, self._tell, writer.path)
            return await self._end
        finally:
            self._watch.view.feed.suspend()
            for timer in (self._timer, self._ticking):
                if timer is not None:
                    timer.cancel()
            tasks = list(self._fetches.values())
            for task in tasks:
                task.cancel()
            if not writer.kept_bytes:  # otherwise that is worth more than some bytes unjudged
                self._let_pass()
            writer.close()
            await asyncio.gather(*tasks, writing, return_exceptions=True)
            self._watch.view.kept_bytes = writer.kept_bytes
            self._share.close()
            if self.transfer.refused_connections is not None:
                self._share.refused(self.transfer.refused_connections)

    def _tick_later(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Tell the planner that time passes, unless it is this side that keeps the origin waiting.

        It judges connections by their pace, and what is not read has none.
        """
        is_held = self._watch.view.is_paused or self._writer is None or not self._writer.has_room
        if self._fetches and not is_held:
            self._tell(Ticked())
        self._tick_later()

    def _fail_with(self, task: asyncio.Task[None]) -> None:
        """Let an exception nobody expects of a task, or the disk's, end the drive."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._end.done():
            self._end.set_exception(error)

    def _tell(self, seen: Observation, data: bytes | memoryview = b"") -> None:
        jitter = random.random()  # noqa: S311 - spreads retries, keeps no secret
        commands = self.transfer.handle(
            seen, now_s=time.time(), jitter=jitter, spare_connections=self._share.spare
        )
        if not self._end.done():  # otherwise the last writes are told, and only counted
            self._obey(commands, data)
            if self._held:
                self._judge()  # the end of the body may be all that it waited for
        self._share.settle()
        self._watch.view.done_bytes = self.transfer.stored.size_bytes
        self._watch.view.total_bytes = self.transfer.total_bytes
        self._watch.view.kept_bytes = 0 if self._writer is None else self._writer.kept_bytes
        self._watch.view.feed.look()

    def _obey(self, commands: tuple[Command, ...], data: bytes | memoryview) -> None:
        for command in commands:
            match command:
                case Keep(span, at, _):
                    self._keep(span, data[at : at + span.size_bytes])
                case Fetch(fetch_id):
                    self._share.hand_over(fetch_id)
                    task = asyncio.create_task(self._fetch(command), name=f"vidnb fetch {fetch_id}")
                    task.add_done_callback(self._fail_with)
                    self._fetches[fetch_id] = task
                case Cancel(fetch_id):
                    task = self._fetches.pop(fetch_id)
                    self._share.loosen(fetch_id)
                    if task is not asyncio.current_task():
                        task.cancel()
                case Restart(generation):
                    self._restart(generation)
                case Wait(delay_s, failure):
                    self._watch.view.phase = Phase.WAITING
                    self._watch.view.note = f"{failure.reason}; trying again in {delay_s:.1f} s"
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(delay_s, self._tell, TimerFired())
                case Complete() | GiveUp():
                    self._end.set_result(command)

    def _restart(self, generation: int) -> None:
        if self._writer is not None:
            self._writer.restart(generation)
        self._head = bytearray() if self._check_video else None
        self._held.clear()
        self._has_begun = False

    def _keep(self, span: Span, data: bytes | memoryview) -> None:
        if self._head is not None and span.start == len(self._head):
            self._head += data[:HEAD_BYTES]
            if not self._is_head_whole:
                self._held.append((span, bytes(data)))
                return
            self._judge()
        self._store(span, data)

    def _store(self, span: Span, data: bytes | memoryview) -> None:
        if self._writer is not None and self.transfer.version is not None:
            self._has_begun = True
            self._writer.reserves = self.transfer.fills
            self._writer.add(span, data, self.transfer.version)

    @property
    def _is_head_whole(self) -> bool:
        least_bytes = min(HEAD_BYTES, self.transfer.total_bytes or HEAD_BYTES)
        return self._head is not None and len(self._head) >= least_bytes

    def _judge(self) -> None:
        """Refuse a page before it is downloaded, whatever its headers call it."""
        if self._head is None or not self._is_head_whole:
            return
        sniffed = container.sniff(bytes(self._head[:HEAD_BYTES]))
        if sniffed.verdict == "page":
            self._held.clear()
            raise Page(sniffed.kind, sniffed.title, is_stored=self._has_begun)
        self._head = None
        self._let_pass()

    def _let_pass(self) -> None:
        """Have written what was held back."""
        for span, data in self._held:
            self._store(span, data)
        self._held.clear()

    async def _fetch(self, fetch: Fetch) -> None:
        """Carry one request out until its end or until the planner drops it."""
        if not self._share.holds(fetch.fetch_id):
            self._watch.view.phase = Phase.WAITING
            self._watch.view.note = "other downloads use all the connections this host may be asked"
            await self._share.wait_for(fetch.fetch_id)
        if not self._watch.view.done_bytes:
            self._watch.view.phase, self._watch.view.note = Phase.CONNECTING, ""
        try:
            answer = await self._client.get(
                self._url,
                caller_headers=self._headers,
                request_headers=dict(fetch.headers),
                idle_timeout_s=self._idle_timeout_s,
            )
        except ConnectionFault as fault:
            self._finish(fetch, Lost(fetch.fetch_id, fault.failure))
            return
        try:
            await self._read(fetch, answer)
        finally:
            answer.close()
            if self._writer is not None:
                self._writer.flush()

    async def _read(self, fetch: Fetch, answer: HttpAnswer) -> None:
        # Known before the planner hears of it, since this answer may already complete the file.
        self.final_url = answer.url
        if answer.status in {200, 206}:
            self.media_type = answer.headers.get("content-type", self.media_type)
            self.disposition = answer.headers.get("content-disposition", self.disposition)
            self._watch.view.feed.media_type = self.media_type
        self._tell(Opened(fetch.fetch_id, answer.status, answer.headers))
        if fetch.fetch_id not in self._fetches:
            return
        self._watch.view.phase, self._watch.view.note = Phase.DOWNLOADING, ""
        await self._check_room()
        while fetch.fetch_id in self._fetches:
            if self._watch.view.is_paused:
                await self._pause(fetch)
            while not self.transfer.may_read(fetch.fetch_id):
                answer.hold()  # what it takes now is taken from a reader, and lost with it
                await asyncio.sleep(_TICK_S)
            try:
                data = await answer.read()
            except ConnectionFault as fault:
                self._finish(fetch, Lost(fetch.fetch_id, fault.failure))
                return
            if not data:
                self._finish(fetch, Ended(fetch.fetch_id, answer.is_framed))
                return
            self._tell(Received(fetch.fetch_id, len(data)), data)
            blocks.let_go(data)
            if self._writer is not None:
                await self._writer.room()

    async def _pause(self, fetch: Fetch) -> None:
        """Wait until the pause ends; meanwhile this connection stands in nobody's way."""
        self._share.loosen(fetch.fetch_id)
        self._share.settle()
        await self._watch.until_resumed()
        if not self._share.hand_over(fetch.fetch_id):
            await self._share.wait_for(fetch.fetch_id)

    def _finish(self, fetch: Fetch, seen: Observation) -> None:
        # A fetch that the planner dropped meanwhile has nothing to report any more.
        if self._fetches.pop(fetch.fetch_id, None) is not None:
            self._share.loosen(fetch.fetch_id)
            self._tell(seen)

    async def _check_room(self) -> None:
        """Stop before a disk is filled with a file it cannot hold."""
        total_bytes = self.transfer.total_bytes
        if total_bytes is None or not self.transfer.fills:
            return
        room = self._room_before
        if total_bytes - self.transfer.stored.size_bytes > _LITTLE_BYTES:
            room = await hop(self._room)
        # What is reserved, or of another version, has its place; packed bytes take less than one.
        missing_bytes = total_bytes - max(room.taken_bytes, self.transfer.stored.size_bytes)
        if missing_bytes > room.free_bytes:
            raise OSError(errno.ENOSPC, f"no room for {missing_bytes} more bytes on this disk")
