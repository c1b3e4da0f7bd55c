"""The segments of all sources of this process: sessions, their threads, and who waits for what.

Everything here runs on the server's loop, so that nothing is locked; `segment_queue` decides what
is made next, `segment_session` makes it. A session is shared by all players of one version of a
file in one variant, and is closed with the last of them, or when it was idle for a while.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

from vidnb.errors import ServeError
from vidnb.io import loop
from vidnb.io.calls import NoThreadError
from vidnb.server.segment_cache import SegmentCache
from vidnb.server.segment_queue import SegmentQueue
from vidnb.server.segment_session import Found, Session, SessionKey, SourceVersion, find

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
        self._ending: set[asyncio.Future[None]] = set()
        self._is_registered = False

    async def fetch(
        self, user: object, version: SourceVersion, variant: str, number: int, name: str
    ) -> Path | bytes | None:
        """Return a part of a stream, from the cache or as soon as it is made.

        None if there is no such part; a `VidnbError` with a sentence if it cannot be made.
        Cancelling withdraws the request.
        """
        key = SessionKey(version.identity, variant)
        found = await asyncio.to_thread(find, self.cache, key, name)
        session = self._session(key, version, user)
        if found is None:
            return await self._wait(session, number)
        self._note(session, found)
        if number >= 0:
            self._queue.watch(session, number)
            self._start()
        return found.part

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

    def _session(self, key: SessionKey, version: SourceVersion, user: object) -> Session:
        session = self.sessions.get(key)
        if session is None:
            if not self._is_registered:
                self._is_registered = True
                loop.server.at_exit(self.stop)
            running = asyncio.get_running_loop()
            session = Session(key, version, self.cache, running, self._block, self._finish)
            self.sessions[key] = session
            ahead = READ_AHEAD_TRANSCODE if key.is_transcode else READ_AHEAD_REMUX
            self._queue.open(session, is_transcode=key.is_transcode, read_ahead=ahead)
            running.call_later(IDLE_S, self._close_if_idle, session)
        session.users.add(user)
        session.used_s = asyncio.get_running_loop().time()
        return session

    async def _wait(self, session: Session, number: int) -> Path | bytes | None:
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
        return result.result().part

    def _start(self) -> None:
        """Start the jobs that may run now."""
        while (job := self._queue.start()) is not None:
            try:
                job.session.make(job.number)
            except NoThreadError as error:
                self._settle(job.session, job.number, error)
                self._queue.finish(job.session, is_made=False)

    def _finish(self, session: Session, number: int, result: Found | Exception) -> None:
        """Deliver what a thread has made."""
        session.used_s = asyncio.get_running_loop().time()
        self._settle(session, number, result)
        self._queue.finish(session, is_made=isinstance(result, Found))
        self._start()

    def _settle(self, session: Session, number: int, result: Found | Exception) -> None:
        if isinstance(result, Found):
            self._note(session, result)
        waiting = session.results.pop(number, None)
        if waiting is None or waiting.done():
            return
        if isinstance(result, Found):
            waiting.set_result(result)
        else:
            waiting.set_exception(result)
            waiting.exception()  # counts as retrieved: they may have gone

    def _note(self, session: Session, found: Found) -> None:
        if found.count is not None and self.sessions.get(session.key) is session:
            self._queue.set_count(session, found.count)

    def _block(self, session: Session, *, is_blocked: bool) -> None:
        self._queue.set_blocked(session, is_blocked=is_blocked)
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
        name = session.version.source.name
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
