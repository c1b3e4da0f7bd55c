"""The segments of all sources of this process: sessions, their threads, and who waits for what.

Everything here runs on the server's loop, so that nothing is locked; `segment_queue` decides what
is made next, `segment_session` makes it. A session is shared by all players of one version of a
file in one variant, and is closed with the last of them, or when it was idle for a while.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from vidnb.errors import ServeError, VidnbError
from vidnb.io import loop
from vidnb.io.calls import NoThreadError
from vidnb.media.playlist import PLAYLIST
from vidnb.server.segment_cache import SegmentCache
from vidnb.server.segment_queue import SegmentQueue
from vidnb.server.segment_session import OvertakenError, Result, Session, SessionKey
from vidnb.server.source_version import SourceVersion

__all__ = ["SegmentService", "segment_service"]

IDLE_S: Final = 30.0
"""A session without a request for this long is closed: decoders, files and thread."""
READ_AHEAD_TRANSCODE: Final = 15
"""So many segments are encoded ahead of the player: half a minute."""
READ_AHEAD_REMUX: Final = 2
"""Copying is faster than any player."""
EXIT_S: Final = 1.0
"""How long the exit of the process waits for segments that are being made."""


class SegmentService:
    """All sessions of the process; on the server's loop."""

    def __init__(self) -> None:
        self.sessions: dict[SessionKey, Session] = {}
        self.cache = SegmentCache()
        self._queue: SegmentQueue[Session] = SegmentQueue(max(1, (os.cpu_count() or 1) // 2))
        self._waits: dict[Session, Callable[[], object]] = {}
        self._ending: set[asyncio.Future[None]] = set()
        self._is_registered = False

    def join(self, user: object, source: SourceVersion, variant: str) -> Session:
        """Return the session of a version and variant for a request of `user`'s, its only one."""
        key = SessionKey(source.tag, variant)
        self.release(user, keep=key)  # that of an earlier version
        session = self.sessions.get(key)
        if session is None:
            session = self.sessions[key] = self._open(key, source)
        session.users.add(user)
        session.used_s = asyncio.get_running_loop().time()
        return session

    def _open(self, key: SessionKey, source: SourceVersion) -> Session:
        if not self._is_registered:
            self._is_registered = True
            loop.server.at_exit(self.stop)
        session = Session(key, source, self.cache, self._finish, self._block)
        ahead = READ_AHEAD_TRANSCODE if key.is_transcode else READ_AHEAD_REMUX
        self._queue.open(session, is_transcode=key.is_transcode, read_ahead=ahead)
        asyncio.get_running_loop().call_later(IDLE_S, self._close_if_idle, session)
        return session

    def note(self, session: Session, number: int, part: bytes) -> None:
        """Note that a part that was in the cache is delivered: read ahead from there."""
        self._set_count(session, number, part)
        if number >= 0:
            self._queue.add_made(session, number)
            self._start()

    async def wait(self, session: Session, number: int) -> bytes | None:
        """Return a part as soon as it is made; None if there is no such part.

        A `VidnbError` with a sentence if it cannot be made. Cancelling withdraws the request.
        """
        result = session.results.get(number)
        if result is None:
            result = session.results[number] = asyncio.get_running_loop().create_future()
        self._queue.request(session, number)
        self._start()
        try:
            await asyncio.wait([result])  # which does not cancel it: others wait, too
        except asyncio.CancelledError:
            if self._queue.withdraw(session, number):
                session.results.pop(number, None)
            raise
        return result.result()

    def release(self, user: object, *, keep: SessionKey | None = None) -> None:
        """Close the sessions that only `user` uses, except one."""
        for session in tuple(self.sessions.values()):
            if session.key != keep and user in session.users:
                session.users.discard(user)
                if not session.users:
                    self._close(session)

    async def stop(self) -> None:
        """Close all sessions at the end of the process, and wait a moment for their threads."""
        for session in tuple(self.sessions.values()):
            self._close(session)
        if self._ending:
            await asyncio.wait(self._ending, timeout=EXIT_S)

    def _start(self) -> None:
        """Start the jobs that may run now; end those that wait for bytes while others could run."""
        for session in self._queue.overtaken():
            self._waits[session]()
        while (job := self._queue.start()) is not None:
            try:
                job.session.make(job.number)
            except NoThreadError as error:
                self._settle(job.session, job.number, error)
                self._queue.finish(job.session, is_made=False)

    def _finish(self, session: Session, number: int, result: Result) -> None:
        """Deliver what a thread has made."""
        session.used_s = asyncio.get_running_loop().time()
        if isinstance(result, OvertakenError):
            self._queue.put_back(session)
        else:
            self._settle(session, number, result)
            self._queue.finish(session, is_made=not isinstance(result, VidnbError))
        self._start()

    def _settle(self, session: Session, number: int, result: Result) -> None:
        waiting = session.results.pop(number, None)
        if isinstance(result, VidnbError):
            if waiting is not None:
                waiting.set_exception(result)
                waiting.exception()  # counts as retrieved: they may have gone
            return
        if self.sessions.get(session.key) is session:
            self._set_count(session, number, result)
        if waiting is not None:
            waiting.set_result(result)

    def _set_count(self, session: Session, number: int, part: bytes | None) -> None:
        if part is None:
            self._queue.set_count(session, number)
        elif number == PLAYLIST:
            self._queue.set_count(session, part.count(b"#EXTINF:"))

    def _block(self, session: Session, cancel: Callable[[], object] | None) -> None:
        if cancel is None:
            self._waits.pop(session, None)
        else:
            self._waits[session] = cancel
        self._queue.set_blocked(session, is_blocked=cancel is not None)
        self._start()

    def _close_if_idle(self, session: Session) -> None:
        if self.sessions.get(session.key) is not session:
            return
        running = asyncio.get_running_loop()
        left_s = session.used_s + IDLE_S - running.time()
        if self._queue.is_busy(session):
            left_s = IDLE_S
        if left_s > 0:
            running.call_later(left_s, self._close_if_idle, session)
        else:
            self._close(session)

    def _close(self, session: Session) -> None:
        del self.sessions[session.key]
        self._queue.close(session)
        if session in self._waits:
            self._waits[session]()
        name = session.source.source.name
        for number in tuple(session.results):
            self._settle(session, number, ServeError(f"{name} is not served any more."))
        if session.ended is not None:
            self._ending.add(session.ended)
            session.ended.add_done_callback(self._ending.discard)
            session.close()
        self._start()


def _forget() -> None:
    """In a forked child: start without sessions. The parent's stay as they are, never freed."""
    global _service  # noqa: PLW0603
    _parents.append(_service)
    _service = SegmentService()


def segment_service() -> SegmentService:
    """Return the service of this process."""
    return _service


_parents: list[SegmentService] = []
# Kept over importlib.reload and %autoreload, which would otherwise make segments twice.
_service: SegmentService = globals().get("_service") or SegmentService()
getattr(os, "register_at_fork", dict)(after_in_child=_forget)
