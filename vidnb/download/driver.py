"""One transfer, driven: commands become requests and writes, what they bring observations.

Everything here happens on one event loop, and `_tell` is a plain function: between an observation
and the last of its commands nothing else runs, so the planner never sees a stale world.
"""

import asyncio
import errno
import random
import time
from collections.abc import Callable

from vidnb.download.part_file import DiskSpace
from vidnb.download.planner.events import (
    BodyReceived,
    CancelRequest,
    Command,
    Complete,
    ConnectionFailed,
    Event,
    GiveUp,
    RangeStored,
    ResponseEnded,
    ResponseStarted,
    Restart,
    RetryTimerFired,
    ScheduleRetry,
    StartRequest,
    Ticked,
    WriteRange,
)
from vidnb.download.planner.transfer import Transfer
from vidnb.download.slots import SlotShare
from vidnb.download.status import DownloadHandle, Phase
from vidnb.download.validation import HEAD_BYTES
from vidnb.download.writer import Writer
from vidnb.http.ranges import ByteRange
from vidnb.io import buffer_pool
from vidnb.io.client import ConnectionFault, HttpClient, HttpResponse
from vidnb.io.threads import run_in_thread
from vidnb.media import sniff

__all__ = ["PageReceivedError", "TransferDriver"]

_LITTLE_BYTES = 2**20
"""For less than this the disk is not asked again: that takes as long as fetching it."""

_TICK_S = 0.05
"""How often the planner is told that time passes."""


class PageReceivedError(Exception):  # noqa: N818 - not a failure of ours: the origin sent a page
    """The first bytes are those of a page; `title` is its title, if it has one.

    `is_stored` says that some of the page went to the disk before it was known for one.
    """

    def __init__(self, kind: str, title: str | None, *, is_stored: bool) -> None:
        super().__init__(kind)
        self.kind = kind
        self.title = title
        self.is_stored = is_stored


class TransferDriver:
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
        handle: DownloadHandle,
        *,
        url: str,
        headers: dict[str, str],
        idle_timeout_s: float,
        check_video: bool,
        room_before: DiskSpace,
        room: Callable[[], DiskSpace],
        share: SlotShare,
    ) -> None:
        self.transfer = transfer
        self.final_url = url
        self.media_type: str | None = None
        self.disposition: str | None = None
        self._client = client
        self._handle = handle
        self._url = url
        self._headers = headers
        self._idle_timeout_s = idle_timeout_s
        self._room_before = room_before
        self._room = room
        self._share = share
        self._check_video = check_video
        self._head = bytearray() if check_video and not transfer.source.stored else None
        self._held: list[tuple[ByteRange, bytes]] = []
        self._has_begun = bool(transfer.source.stored)
        self._fetches: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._end: asyncio.Future[Complete | GiveUp] = asyncio.get_running_loop().create_future()
        self._writer: Writer | None = None

    def stored(self, byte_range: ByteRange, generation: int) -> None:
        """Hear from the writer that bytes are on disk."""
        self._tell(RangeStored(byte_range, generation))

    async def run(self, writer: Writer) -> Complete | GiveUp:
        """Run to the end. Whatever ends it early, every received byte is written first."""
        self._writer = writer
        writing = asyncio.create_task(writer.run(), name="vidnb writer")
        writing.add_done_callback(self._fail_with)
        try:
            self._obey(self.transfer.start(), b"")
            self._tick_later()
            self._handle.status.feed.begin(self.transfer, self._tell, writer.path)
            return await self._end
        finally:
            self._handle.status.feed.suspend()
            for timer in (self._timer, self._ticking):
                if timer is not None:
                    timer.cancel()
            tasks = list(self._fetches.values())
            for task in tasks:
                task.cancel()
            if not writer.resumable_bytes:  # otherwise that is worth more than some bytes unjudged
                self._let_pass()
            writer.close()
            await asyncio.gather(*tasks, writing, return_exceptions=True)
            self._handle.status.resumable_bytes = writer.resumable_bytes
            self._share.close()
            if self.transfer.observed_host_limit is not None:
                self._share.refused(self.transfer.observed_host_limit)

    def _tick_later(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Tell the planner that time passes, unless it is this side that keeps the origin waiting.

        It judges connections by their pace, and what is not read has none.
        """
        is_held = self._handle.status.is_paused or self._writer is None or not self._writer.has_room
        if self._fetches and not is_held:
            self._tell(Ticked())
        self._tick_later()

    def _fail_with(self, task: asyncio.Task[None]) -> None:
        """Let an exception nobody expects of a task, or the disk's, end the drive."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._end.done():
            self._end.set_exception(error)

    def _tell(self, seen: Event, data: bytes | memoryview = b"") -> None:
        jitter = random.random()  # noqa: S311 - spreads retries, keeps no secret
        commands = self.transfer.handle(
            seen, now_s=time.time(), jitter=jitter, available_connections=self._share.spare
        )
        if not self._end.done():  # otherwise the last writes are told, and only counted
            self._obey(commands, data)
            if self._held:
                self._judge()  # the end of the body may be all that it waited for
        self._share.settle()
        self._handle.status.done_bytes = self.transfer.source.stored.size_bytes
        self._handle.status.total_bytes = self.transfer.source.total_bytes
        self._handle.status.resumable_bytes = (
            0 if self._writer is None else self._writer.resumable_bytes
        )
        self._handle.status.feed.look()

    def _obey(self, commands: tuple[Command, ...], data: bytes | memoryview) -> None:
        for command in commands:
            match command:
                case WriteRange(byte_range, at, _):
                    self._keep(byte_range, data[at : at + byte_range.size_bytes])
                case StartRequest(request_id):
                    self._share.hand_over(request_id)
                    task = asyncio.create_task(
                        self._fetch(command), name=f"vidnb fetch {request_id}"
                    )
                    task.add_done_callback(self._fail_with)
                    self._fetches[request_id] = task
                case CancelRequest(request_id):
                    task = self._fetches.pop(request_id)
                    self._share.loosen(request_id)
                    if task is not asyncio.current_task():
                        task.cancel()
                case Restart(generation):
                    self._restart(generation)
                case ScheduleRetry(delay_s, failure):
                    self._handle.status.phase = Phase.WAITING
                    self._handle.status.note = f"{failure.reason}; trying again in {delay_s:.1f} s"
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(delay_s, self._tell, RetryTimerFired())
                case Complete() | GiveUp():
                    self._end.set_result(command)

    def _restart(self, generation: int) -> None:
        if self._writer is not None:
            self._writer.restart(generation)
        self._head = bytearray() if self._check_video else None
        self._held.clear()
        self._has_begun = False

    def _keep(self, byte_range: ByteRange, data: bytes | memoryview) -> None:
        if self._head is not None and byte_range.start == len(self._head):
            self._head += data[:HEAD_BYTES]
            if not self._is_head_whole:
                self._held.append((byte_range, bytes(data)))
                return
            self._judge()
        self._store(byte_range, data)

    def _store(self, byte_range: ByteRange, data: bytes | memoryview) -> None:
        if self._writer is not None and self.transfer.source.validators is not None:
            self._has_begun = True
            self._writer.reserves = self.transfer.is_whole_wanted
            self._writer.add(byte_range, data, self.transfer.source.validators)

    @property
    def _is_head_whole(self) -> bool:
        least_bytes = min(HEAD_BYTES, self.transfer.source.total_bytes or HEAD_BYTES)
        return self._head is not None and len(self._head) >= least_bytes

    def _judge(self) -> None:
        """Refuse a page before it is downloaded, whatever its headers call it."""
        if self._head is None or not self._is_head_whole:
            return
        sniffed = sniff.sniff(bytes(self._head[:HEAD_BYTES]))
        if sniffed.verdict == "page":
            self._held.clear()
            raise PageReceivedError(sniffed.kind, sniffed.title, is_stored=self._has_begun)
        self._head = None
        self._let_pass()

    def _let_pass(self) -> None:
        """Have written what was held back."""
        for byte_range, data in self._held:
            self._store(byte_range, data)
        self._held.clear()

    async def _fetch(self, fetch: StartRequest) -> None:
        """Carry one request out until its end or until the planner drops it."""
        if not self._share.holds(fetch.request_id):
            self._handle.status.phase = Phase.WAITING
            self._handle.status.note = (
                "other downloads use all the connections this host may be asked"
            )
            await self._share.wait_for(fetch.request_id)
        if not self._handle.status.done_bytes:
            self._handle.status.phase, self._handle.status.note = Phase.CONNECTING, ""
        try:
            answer = await self._client.get(
                self._url,
                caller_headers=self._headers,
                request_headers=dict(fetch.headers),
                idle_timeout_s=self._idle_timeout_s,
            )
        except ConnectionFault as fault:
            self._finish(fetch, ConnectionFailed(fetch.request_id, fault.failure))
            return
        try:
            await self._read(fetch, answer)
        finally:
            answer.close()
            if self._writer is not None:
                self._writer.flush()

    async def _read(self, fetch: StartRequest, answer: HttpResponse) -> None:
        # Known before the planner hears of it, since this answer may already complete the file.
        self.final_url = answer.url
        if answer.status in {200, 206}:
            self.media_type = answer.headers.get("content-type", self.media_type)
            self.disposition = answer.headers.get("content-disposition", self.disposition)
            self._handle.status.feed.media_type = self.media_type
        self._tell(ResponseStarted(fetch.request_id, answer.status, answer.headers))
        if fetch.request_id not in self._fetches:
            return
        self._handle.status.phase, self._handle.status.note = Phase.DOWNLOADING, ""
        await self._check_room()
        while fetch.request_id in self._fetches:
            if self._handle.status.is_paused:
                await self._pause(fetch)
            while not self.transfer.should_read(fetch.request_id):
                answer.hold()  # what it takes now is taken from a reader, and lost with it
                await asyncio.sleep(_TICK_S)
            try:
                data = await answer.read()
            except ConnectionFault as fault:
                self._finish(fetch, ConnectionFailed(fetch.request_id, fault.failure))
                return
            if not data:
                self._finish(fetch, ResponseEnded(fetch.request_id, answer.is_framed))
                return
            self._tell(BodyReceived(fetch.request_id, len(data)), data)
            buffer_pool.release(data)
            if self._writer is not None:
                await self._writer.room()

    async def _pause(self, fetch: StartRequest) -> None:
        """Wait until the pause ends; meanwhile this connection stands in nobody's way."""
        self._share.loosen(fetch.request_id)
        self._share.settle()
        await self._handle.until_resumed()
        if not self._share.hand_over(fetch.request_id):
            await self._share.wait_for(fetch.request_id)

    def _finish(self, fetch: StartRequest, seen: Event) -> None:
        # A fetch that the planner dropped meanwhile has nothing to report any more.
        if self._fetches.pop(fetch.request_id, None) is not None:
            self._share.loosen(fetch.request_id)
            self._tell(seen)

    async def _check_room(self) -> None:
        """Stop before a disk is filled with a file it cannot hold."""
        total_bytes = self.transfer.source.total_bytes
        if total_bytes is None or not self.transfer.is_whole_wanted:
            return
        room = self._room_before
        if total_bytes - self.transfer.source.stored.size_bytes > _LITTLE_BYTES:
            room = await run_in_thread(self._room)
        # What is reserved, or of another version, has its place; packed bytes take less than one.
        missing_bytes = total_bytes - max(room.taken_bytes, self.transfer.source.stored.size_bytes)
        if missing_bytes > room.free_bytes:
            raise OSError(errno.ENOSPC, f"no room for {missing_bytes} more bytes on this disk")
