"""Drive one transfer: turn the planner's commands into requests and writes, and report the events.

Everything runs on one event loop, and `_report` is a plain function: between an event and the last
of its commands nothing else runs, so the planner never decides on stale state.
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
from vidnb.download.validation import HEAD_BYTES, is_refused
from vidnb.download.writer import Writer
from vidnb.http.credentials import refusal_remedy
from vidnb.http.ranges import ByteRange
from vidnb.io.client import ConnectionFault, HttpClient, HttpResponse
from vidnb.io.client_errors import silence
from vidnb.io.request_settings import RequestSettings
from vidnb.io.threads import run_in_thread
from vidnb.media.sniff import SniffResult, sniff

__all__ = ["HeadRefusedError", "TransferDriver"]

_NEGLIGIBLE_BYTES = 2**20
"""For less than this the free space is not read again, which takes as long as fetching it."""

_TICK_S = 0.05
"""The interval (s) of `Ticked` events."""


class HeadRefusedError(Exception):
    """The first bytes are not those of a video, as `sniffed` says.

    With a `claim` (`ContentCoding`) only a known video is accepted; without it, what is no text in
    place of one. `is_stored` means that some of it was written before it was recognised.
    """

    def __init__(self, sniffed: SniffResult, claim: str | None, *, is_stored: bool) -> None:
        super().__init__(sniffed.kind)
        self.sniffed = sniffed
        self.claim = claim
        self.is_stored = is_stored


class TransferDriver:
    """Carry out one `Transfer`.

    `final_url`, `media_type` and `disposition` are those of a response that the planner accepted;
    `login_remedy` says what to do about the last 401 or 403.

    `room_before` is the disk space when the download began; `room` returns it as it is now, may
    block and runs in a thread.

    With `check_video` nothing of a file is written before its first bytes (`HEAD_BYTES`) were
    checked: an HTML page in its place does not overwrite what an earlier run stored. The same where
    a response claims a coding of the bytes (`SourceState.claim`).

    A request is sent as soon as `share` has a connection for it.
    """

    def __init__(
        self,
        transfer: Transfer,
        client: HttpClient,
        handle: DownloadHandle,
        *,
        url: str,
        settings: RequestSettings,
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
        self.login_remedy = ""
        self._identified_by: int | None = None
        self._client = client
        self._handle = handle
        self._url = url
        self._settings = settings
        self._idle_timeout_s = idle_timeout_s
        self._room_before = room_before
        self._room = room
        self._share = share
        self._check_video = check_video
        self._head = bytearray() if check_video and not transfer.source.stored else None
        self._held: list[tuple[ByteRange, bytes]] = []
        self._has_begun = bool(transfer.source.stored)
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._end: asyncio.Future[Complete | GiveUp] = asyncio.get_running_loop().create_future()
        self._writer: Writer | None = None

    def stored(self, byte_range: ByteRange, generation: int) -> None:
        """Report bytes that the writer has stored."""
        self._report(RangeStored(byte_range, generation))

    async def run(self, writer: Writer) -> Complete | GiveUp:
        """Run to the end; if an exception ends it early, every received byte is written first."""
        self._writer = writer
        writing = asyncio.create_task(writer.run(), name="vidnb writer")
        writing.add_done_callback(self._fail_with)
        try:
            self._execute(self.transfer.start(), b"")
            self._schedule_tick()
            self._handle.status.feed.attach(self.transfer, self._report, writer.path)
            return await self._end
        finally:
            self._handle.status.feed.detach()
            for timer in (self._timer, self._ticking):
                if timer is not None:
                    timer.cancel()
            tasks = list(self._requests.values())
            for task in tasks:
                task.cancel()
            if not writer.resumable_bytes:  # otherwise that is worth more than some unchecked bytes
                self._store_held()
            writer.close()
            await asyncio.gather(*tasks, writing, return_exceptions=True)
            self._handle.status.resumable_bytes = writer.resumable_bytes
            self._share.close()
            if self.transfer.observed_host_limit is not None:
                self._share.record_refusal(self.transfer.observed_host_limit)

    def _schedule_tick(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Tell the planner that time passes, unless this side suspends the connections.

        It compares their throughput, which is zero while they are not read.
        """
        is_held = self._handle.status.is_paused or self._writer is None or not self._writer.has_room
        if self._requests and not is_held:
            self._report(Ticked())
        self._schedule_tick()

    def _fail_with(self, task: asyncio.Task[None]) -> None:
        """Let an unexpected exception of a task, or the disk's, end the transfer."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._end.done():
            self._end.set_exception(error)

    def _report(self, event: Event, data: bytes | memoryview = b"") -> None:
        jitter = random.random()  # noqa: S311 - spreads retries, no secret depends on it
        commands = self.transfer.handle(
            event, now_s=time.time(), jitter=jitter, available_connections=self._share.available
        )
        if not self._end.done():  # otherwise these are the last writes, which are only counted
            self._execute(commands, data)
            if self._held:
                self._check_head()  # it may have waited for the end of the body
        self._share.release_unused()
        self._handle.status.done_bytes = self.transfer.source.stored.size_bytes
        self._handle.status.total_bytes = self.transfer.source.total_bytes
        self._handle.status.resumable_bytes = (
            0 if self._writer is None else self._writer.resumable_bytes
        )
        self._handle.status.feed.update()

    def _execute(self, commands: tuple[Command, ...], data: bytes | memoryview) -> None:
        for command in commands:
            match command:
                case WriteRange(byte_range, at, _):
                    self._keep(byte_range, data[at : at + byte_range.size_bytes])
                case StartRequest(request_id):
                    self._share.try_acquire(request_id)
                    task = asyncio.create_task(
                        self._carry_out(command), name=f"vidnb request {request_id}"
                    )
                    task.add_done_callback(self._fail_with)
                    self._requests[request_id] = task
                case CancelRequest(request_id):
                    task = self._requests.pop(request_id)
                    self._share.reclaim(request_id)
                    if task is not asyncio.current_task():
                        task.cancel()
                case Restart(generation):
                    self._restart(generation)
                case ScheduleRetry(delay_s, failure):
                    status = self._handle.status
                    status.phase = Phase.WAITING
                    status.note = f"{failure.reason}; trying again in {delay_s:.1f} s"
                    status.retry_note = status.note
                    status.retries += 1
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(delay_s, self._report, RetryTimerFired())
                case Complete() | GiveUp():
                    self._end.set_result(command)

    def _restart(self, generation: int) -> None:
        self._identified_by = None
        if self._writer is not None:
            self._writer.restart(generation)
        self._head = bytearray() if self._check_video else None
        self._held.clear()
        self._has_begun = False

    def _keep(self, byte_range: ByteRange, data: bytes | memoryview) -> None:
        if self.transfer.source.claim is not None and self._head is None and not self._has_begun:
            self._head = bytearray()
        if self._head is not None and byte_range.start == len(self._head):
            self._head += data[:HEAD_BYTES]
            if not self._is_head_whole:
                self._held.append((byte_range, bytes(data)))
                return
            self._check_head()
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

    def _check_head(self) -> None:
        """Refuse an HTML page before it is downloaded, whatever its Content-Type."""
        if self._head is None or not self._is_head_whole:
            return
        sniffed, claim = sniff(bytes(self._head[:HEAD_BYTES])), self.transfer.source.claim
        if is_refused(sniffed, claim, check_video=self._check_video):
            self._held.clear()
            raise HeadRefusedError(sniffed, claim, is_stored=self._has_begun)
        self._head = None
        self._store_held()

    def _store_held(self) -> None:
        """Write what was held back."""
        for byte_range, data in self._held:
            self._store(byte_range, data)
        self._held.clear()

    async def _carry_out(self, request: StartRequest) -> None:
        """Carry out one request until it ends or the planner drops it."""
        if not self._share.has_slot(request.request_id):
            self._handle.status.phase = Phase.WAITING
            self._handle.status.note = (
                "other downloads use all the connections that this host allows"
            )
            await self._share.acquire(request.request_id)
        if not self._handle.status.done_bytes:
            self._handle.status.phase, self._handle.status.note = Phase.CONNECTING, ""
        head_timeout_s = self.transfer.head_timeout_s
        try:
            async with asyncio.timeout(head_timeout_s):
                response = await self._client.get(
                    self._url,
                    self._settings,
                    request_headers=dict(request.headers),
                    idle_timeout_s=self._idle_timeout_s,
                )
        except ConnectionFault as fault:
            self._finish(request, ConnectionFailed(request.request_id, fault.failure))
            return
        except TimeoutError:
            failure = silence(head_timeout_s or self._idle_timeout_s)
            self._finish(request, ConnectionFailed(request.request_id, failure))
            return
        try:
            await self._read(request, response)
        finally:
            response.close()
            if self._writer is not None:
                self._writer.flush()

    async def _read(self, request: StartRequest, response: HttpResponse) -> None:
        challenge = response.headers.get("www-authenticate", "")
        remedy = refusal_remedy(response.status, response.login, challenge)
        self.login_remedy = remedy or self.login_remedy
        self._report(ResponseStarted(request.request_id, response.status, response.headers))
        is_accepted = request.request_id in self._requests or self._end.done()
        if is_accepted and self._identified_by is None:
            self._identify(request, response)
        if request.request_id not in self._requests:
            return
        self._handle.status.phase, self._handle.status.note = Phase.DOWNLOADING, ""
        await self._check_room()
        while request.request_id in self._requests:
            if self._handle.status.is_paused:
                await self._pause(request)
            while not self.transfer.should_read(request.request_id):
                response.hold()  # another reader needs the throughput now
                await asyncio.sleep(_TICK_S)
            try:
                data = await response.read()
            except ConnectionFault as fault:
                self._finish(request, ConnectionFailed(request.request_id, fault.failure))
                return
            if not data:
                self._finish(request, ResponseEnded(request.request_id, response.is_framed))
                return
            self._report(BodyReceived(request.request_id, len(data)), data)
            if self._writer is not None:
                await self._writer.room()

    def _identify(self, request: StartRequest, response: HttpResponse) -> None:
        """Take URL, name and type of the file from the first response that the planner accepts.

        A refused connection may have been redirected to a page of its own. If the connection
        fails, the next accepted response takes its place: a signed URL may have expired.
        """
        self.final_url = response.url
        if response.status in {200, 206}:
            self._identified_by = request.request_id
            self.media_type = response.headers.get("content-type")
            self.disposition = response.headers.get("content-disposition")
            self._handle.status.feed.media_type = self.media_type

    async def _pause(self, request: StartRequest) -> None:
        """Wait until the pause ends; other downloads may use the connection's slot meanwhile."""
        self._share.reclaim(request.request_id)
        self._share.release_unused()
        await self._handle.until_resumed()
        if not self._share.try_acquire(request.request_id):
            await self._share.acquire(request.request_id)

    def _finish(self, request: StartRequest, event: Event) -> None:
        if isinstance(event, ConnectionFailed) and self._identified_by == request.request_id:
            self._identified_by = None
        # A request that the planner dropped meanwhile has nothing to report.
        if self._requests.pop(request.request_id, None) is not None:
            self._share.reclaim(request.request_id)
            self._report(event)

    async def _check_room(self) -> None:
        """Fail before the disk is filled with a file that does not fit."""
        total_bytes = self.transfer.source.total_bytes
        if total_bytes is None or not self.transfer.is_whole_wanted:
            return
        room = self._room_before
        if total_bytes - self.transfer.source.stored.size_bytes > _NEGLIGIBLE_BYTES:
            room = await run_in_thread(self._room)
        # Preallocated blocks and bytes of another version have their space already; on a file
        # system that compresses, the stored bytes take less.
        missing_bytes = total_bytes - max(room.taken_bytes, self.transfer.source.stored.size_bytes)
        if missing_bytes > room.free_bytes:
            raise OSError(errno.ENOSPC, f"no room for {missing_bytes} more bytes on this disk")
