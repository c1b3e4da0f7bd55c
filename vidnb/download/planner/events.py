"""What a transfer is told and what it answers: the two alphabets of the planner.

The driver reports observations, one at a time, and carries out the commands each one returns,
in order, before it reports the next. Offsets and sizes are in bytes (B), times in seconds (s).

A *generation* numbers the attempts to build the file from nothing. Every `Restart` begins a new
one; a write of an older generation that ends late is reported with its old number and ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from vidnb.download.planner.retry import Failure
from vidnb.http.ranges import ByteRange
from vidnb.http.validators import Validators

__all__ = [
    "BodyReceived",
    "CancelRequest",
    "Command",
    "Complete",
    "ConnectionFailed",
    "DemandChanged",
    "Event",
    "GiveUp",
    "GiveUpReason",
    "RangeStored",
    "ReaderAdvanced",
    "ReaderLeft",
    "ReaderRequest",
    "ReaderWaits",
    "ResponseEnded",
    "ResponseStarted",
    "Restart",
    "RetryTimerFired",
    "ScheduleRetry",
    "StartRequest",
    "Ticked",
    "WriteRange",
]


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The head of an answer arrived; `headers` have lower-case names, repeats joined by commas."""

    fetch_id: int
    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """`size_bytes` more bytes of the answer's body arrived; `WriteRange` says where they belong."""

    fetch_id: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """The body ended in order; `framed` is False where only the close of the connection said so."""

    fetch_id: int
    framed: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The connection could not be made, broke, or fell silent."""

    fetch_id: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class RangeStored:
    """The bytes of `byte_range` are in the part file."""

    byte_range: ByteRange
    generation: int


@dataclass(frozen=True, slots=True)
class RetryTimerFired:
    """The time of the last `ScheduleRetry` is over."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """A twentieth of a second or so went by with fetches under way, so that silence is noticed.

    Not reported while the driver itself holds the bytes back (a pause, a full writer): then
    silence says nothing about the origin.
    """


@dataclass(frozen=True, slots=True)
class ReaderWaits:
    """A reader needs the byte at `offset` next and holds its own answer until it is there."""

    reader: int
    offset: int


@dataclass(frozen=True, slots=True)
class ReaderAdvanced:
    """A reader has read up to `offset`, and all of that was here; it does not wait."""

    reader: int
    offset: int


@dataclass(frozen=True, slots=True)
class ReaderLeft:
    """A reader needs nothing any more."""

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
    """Ask the origin, with these request headers beside the caller's own."""

    fetch_id: int
    start: int
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Drop this answer; report nothing more of it."""

    fetch_id: int


@dataclass(frozen=True, slots=True)
class WriteRange:
    """Store these bytes of what was just received: from `at` of the chunk to `byte_range` of the file."""

    byte_range: ByteRange
    at: int
    generation: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Forget every stored byte and every record: what follows is `generation`."""

    generation: int


@dataclass(frozen=True, slots=True)
class ScheduleRetry:
    """Report `RetryTimerFired` after `delay_s`; `failure` says what for."""

    delay_s: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Complete:
    """Every byte of one version is stored.

    `is_unchanged`: the finished file of an earlier run is still the source's version, nothing was
    fetched. `is_size_verified` is False where only the close of the connection told the end.
    """

    version: Validators
    is_unchanged: bool = False
    is_size_verified: bool = True


class GiveUpReason(Enum):
    """Why a transfer was given up."""

    FAILED = "failed"
    MISBEHAVED = "misbehaved"
    CHANGED = "changed"
    TOO_LARGE = "too large"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The transfer ends here; `failure` holds the last one, its reason fit for a sentence.

    `attempts` counts those in a row without progress, the last included.
    """

    why: GiveUpReason
    failure: Failure
    attempts: int


Command = StartRequest | CancelRequest | WriteRange | Restart | ScheduleRetry | Complete | GiveUp
