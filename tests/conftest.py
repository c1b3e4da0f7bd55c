"""What fails any test: a blocking call on one of vidnb's event loops, an error nobody heard."""

import logging
import signal
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

import vidnb

# A run that was started in the background may have inherited an ignored SIGINT, and so would every
# program it starts; several tests press Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_blocking_call_on_an_event_loop() -> Iterator[BlockBuster]:
    """Raise `BlockingError` where code of vidnb's, or anything on vidnb's own loops, blocks.

    vidnb's loops run under `vidnb/io/loop.py`, so whatever blocks there has a frame of vidnb's
    below it; on a caller's loop only vidnb's own calls are looked at.
    """
    buster = BlockBuster(scanned_modules=vidnb)
    # Where a path leads is decided once, in the caller's thread, before any work begins.
    for name in ("os.stat", "os.getcwd"):
        buster.functions[name].can_block_in("vidnb/engine/order.py", "_place")
    # The socket does not block, and the bytes are in memory: as in asyncio's own sendfile.
    buster.functions["os.sendfile"].can_block_in("vidnb/engine/exchange.py", "_send_now")
    # The tracer's own lock, held by whoever collects its data at the moment.
    buster.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
    buster.activate()
    yield buster
    buster.deactivate()


class _Unheard(logging.Handler):
    """Keeps what asyncio could tell nobody: exceptions never retrieved, tasks destroyed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def no_unheard_error() -> Iterator[None]:
    """Fail where asyncio logs an error: a person would see it as a traceback under the cell."""
    unheard = _Unheard()
    logger = logging.getLogger("asyncio")
    logger.addHandler(unheard)
    yield
    logger.removeHandler(unheard)
    assert not unheard.lines, "\n".join(unheard.lines)
