"""Events that the driver reports to a `Transfer`, and commands that it returns.

The driver reports one event at a time and executes the returned commands in order before it
reports the next one. Offsets and sizes are in bytes (B), times in seconds (s).

A *generation* numbers the attempts to build the file from an empty part file. Every `Restart`
begins a new one; a `RangeStored` of an older generation is ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vidnb.download.planner.retry import Failure, GiveUpReason
from vidnb.http.ranges import ByteRange
from vidnb.http.validators import Validators


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """A response head arrived. Names of `headers` are lower-case, repeats joined by commas."""

    request_id: int
    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """A chunk of `size_bytes` of the response body arrived."""

    request_id: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """The body ended; `is_framed` is False where only the closed connection marked its end."""

    request_id: int
    is_framed: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The connection could not be established, broke or timed out."""

    request_id: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class RangeStored:
    """The bytes of `byte_range` are in the part file."""

    byte_range: ByteRange
    generation: int


@dataclass(frozen=True, slots=True)
class RetryTimerFired:
    """The delay of the last `ScheduleRetry` is over."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """About 0.05 s passed with requests in flight; lets the planner notice stalled connections.

    Not reported while the driver itself does not read (paused, or the writer's queue is full).
    """


@dataclass(frozen=True, slots=True)
class ReaderWaits:
    """A reader needs the byte at `offset` next and waits until it is stored."""

    reader: int
    offset: int


@dataclass(frozen=True, slots=True)
class ReaderAdvanced:
    """A reader has read up to `offset` without waiting."""

    reader: int
    offset: int


@dataclass(frozen=True, slots=True)
class ReaderLeft:
    """A reader needs no more bytes."""

    reader: int


@dataclass(frozen=True, slots=True)
class DemandChanged:
    """From now on the whole file is wanted, or only what readers need (`is_whole` False)."""

    is_whole: bool


ReaderRequest = ReaderWaits | ReaderAdvanced | ReaderLeft | DemandChanged

Event = (
    ResponseStarted
    | BodyReceived
    | ResponseEnded
    | ConnectionFailed
    | RangeStored
    | RetryTimerFired
    | Ticked
    | ReaderRequest
)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Send a request for the bytes from `start`; `headers` are added to the caller's own."""

    request_id: int
    start: int
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Cancel this request and report nothing more of it."""

    request_id: int


@dataclass(frozen=True, slots=True)
class WriteRange:
    """Write `byte_range` of the file; its first byte is at `chunk_offset` of the received chunk."""

    byte_range: ByteRange
    chunk_offset: int
    generation: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Discard all stored bytes and the journal; `generation` begins."""

    generation: int


@dataclass(frozen=True, slots=True)
class ScheduleRetry:
    """Report `RetryTimerFired` after `delay_s`; `failure` is the reason for the retry."""

    delay_s: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Complete:
    """Every byte of one version, identified by `validators`, is stored.

    `is_unchanged`: the published file of an earlier run is still current, and nothing was
    downloaded; with a `failure` that could not be determined, because of it. `is_size_verified` is
    False where only a closed connection marked the end. `claim` is that of `ContentCoding`.
    """

    validators: Validators
    is_unchanged: bool = False
    is_size_verified: bool = True
    claim: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The transfer ends without a file; `failure` is the last one.

    `attempts` counts the consecutive attempts without progress, the last one included.
    """

    reason: GiveUpReason
    failure: Failure
    attempts: int


Command = StartRequest | CancelRequest | WriteRange | Restart | ScheduleRetry | Complete | GiveUp
