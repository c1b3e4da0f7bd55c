"""Automatic connections, played against origins of every kind on a virtual clock.

The whole `Transfer` runs, a step of 5 ms at a time. An origin says how many bytes each of its
connections may have sent by now; the times are compared with those of sixteen connections opened
at once, which is what a caller could have named who knew the origin.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

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
    ReaderLeft,
    ReaderWaits,
    Received,
    Stored,
    Ticked,
    TimerFired,
    Wait,
)
from vidnb.core.headers import fold_headers, format_content_range
from vidnb.core.ramp import MAX_CONNECTIONS
from vidnb.core.retry import Failure, FailureKind, RetryPolicy
from vidnb.core.spans import Span, SpanSet
from vidnb.core.transfer import UNLIMITED, Transfer

STEP_S = 0.005
TICK_S = 0.05
PIECE_BYTES = 64 * 1024
MIB = 2**20
BEGUN_S = 1_800_000_000.0


@dataclass
class Wire:
    """One connection: asked at `asked_s`, its answer's head due at `head_s`."""

    fetch: Fetch
    asked_s: float
    head_s: float
    left_bytes: int = 0
    sent_bytes: float = 0
    status: int = 0
    budget_bytes: float = 0.0
    window_bytes: float = 14_600
    acked_s: float = 0.0
    held_bytes: float = 0.0


@dataclass
class Link:
    """An origin and the way to it.

    `each` is the pace of one connection (B/s), `shared` that of all, `line` what the wire can do.
    `burst_s`: each connection gets what is due for so long at once, at the pace of the line, and
    then nothing until it is due. `refuses_from`: more connections than that are answered 503.
    """

    each: float = float("inf")
    shared: float = float("inf")
    line: float = 1.25e9
    burst_s: float = 0.0
    round_trip_s: float = 0.0005
    has_slow_start: bool = False
    takes: int = 1000
    refusal: str = "503"
    has_ranges: bool = True
    chunk_bytes: int = 1

    def due(self, wire: Wire, now_s: float) -> float:
        """Return how many bytes this connection may have got by now, but for what is shared."""
        age_s = now_s - wire.head_s
        if self.burst_s:
            return self.each * self.burst_s * (int(age_s / self.burst_s) + 1)
        if self.has_slow_start:
            # One window per round trip, twice as large each time, up to the cap.
            while now_s - wire.acked_s >= self.round_trip_s:
                wire.acked_s += self.round_trip_s
                wire.budget_bytes += min(wire.window_bytes, self.each * self.round_trip_s)
                wire.window_bytes *= 2
            return wire.budget_bytes
        return self.each * (age_s + STEP_S)


@dataclass
class Play:
    """One transfer of `size_bytes` over a link."""

    link: Link
    size_bytes: int
    connections: int | None = None
    spare: Callable[[float], int] | None = None
    now_s: float = BEGUN_S
    wires: dict[int, Wire] = field(default_factory=dict)
    outcome: Complete | GiveUp | None = None
    wakes_s: float | None = None
    requests: int = 0
    received_bytes: int = 0
    trace: list[tuple[float, int]] = field(default_factory=list)
    host_takes: int | None = None
    said: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transfer = Transfer(
            policy=RetryPolicy(), max_connections=self.connections, host_takes=self.host_takes
        )

    def run(self, until_s: float = 600.0) -> "Play":
        self.obey(self.transfer.start())
        steps = 0
        while self.outcome is None and self.elapsed_s < until_s:
            steps += 1
            self.now_s = BEGUN_S + steps * STEP_S
            if self.wakes_s is not None and self.now_s >= self.wakes_s:
                self.wakes_s = None
                self.tell(TimerFired())
            self.flow()
            if self.outcome is None and self.wires and steps % round(TICK_S / STEP_S) == 0:
                self.tell(Ticked())
        return self

    @property
    def elapsed_s(self) -> float:
        return self.now_s - BEGUN_S

    def flow(self) -> None:
        room = min(self.link.line, self.link.shared) * STEP_S
        for wire in list(self.wires.values()):
            if wire.fetch.fetch_id in self.wires and not wire.status:
                self.open(wire)
        ready = [wire for wire in self.wires.values() if wire.status in {200, 206}]
        wants = {
            wire.fetch.fetch_id: min(
                wire.left_bytes - wire.held_bytes,
                max(0.0, self.link.due(wire, self.now_s) - wire.sent_bytes - wire.held_bytes),
            )
            for wire in ready
        }
        # Fair shares of what the line takes in one step.
        shares = dict.fromkeys(wants, 0.0)
        while room > 1 and any(wants.values()):
            hungry = [key for key, want in wants.items() if want > 0]
            share = room / len(hungry)
            for key in hungry:
                given = min(share, wants[key])
                wants[key] -= given
                shares[key] += given
                room -= given
        for wire in ready:
            wire.held_bytes += shares[wire.fetch.fetch_id]
            if wire.held_bytes < min(self.link.chunk_bytes, wire.left_bytes):
                continue
            size = int(wire.held_bytes)
            wire.held_bytes = 0
            while size > 0 and wire.fetch.fetch_id in self.wires and self.outcome is None:
                piece = min(size, PIECE_BYTES)
                size -= piece
                wire.left_bytes -= piece
                wire.sent_bytes += piece
                self.received_bytes += piece
                self.tell(Received(wire.fetch.fetch_id, piece))
            if not wire.left_bytes and self.wires.pop(wire.fetch.fetch_id, None):
                self.tell(Ended(wire.fetch.fetch_id))

    def open(self, wire: Wire) -> None:
        if self.now_s < wire.head_s:
            return
        asked = fold_headers(wire.fetch.headers).get("range")
        open_now = sum(other.status in {200, 206} for other in self.wires.values())
        if open_now >= self.link.takes:
            del self.wires[wire.fetch.fetch_id]
            if self.link.refusal == "503":
                self.tell(Opened(wire.fetch.fetch_id, 503, {}))
            else:
                kind = FailureKind[self.link.refusal]
                self.tell(Lost(wire.fetch.fetch_id, Failure(kind, "no")))
            return
        headers = {"etag": '"a"'}
        span = Span(wire.fetch.start, self.size_bytes)
        if asked is None or not self.link.has_ranges:
            wire.status, wire.left_bytes = 200, self.size_bytes
            headers["content-length"] = str(self.size_bytes)
        else:
            stop = asked.partition("-")[2]
            span = Span(wire.fetch.start, int(stop) + 1 if stop else self.size_bytes)
            wire.status, wire.left_bytes = 206, span.size_bytes
            headers["content-range"] = format_content_range(span, self.size_bytes)
        wire.acked_s = self.now_s
        wire.budget_bytes = 0.0
        self.tell(Opened(wire.fetch.fetch_id, wire.status, headers))

    def tell(self, seen: Observation) -> None:
        spare = UNLIMITED if self.spare is None else self.spare(self.elapsed_s) - len(self.wires)
        self.obey(self.transfer.handle(seen, now_s=self.now_s, jitter=0.0, spare_connections=spare))

    def obey(self, commands: tuple[Command, ...]) -> None:
        self.said += commands
        for command in commands:
            match command:
                case Fetch():
                    self.requests += 1
                    # A handshake and a request: two round trips to the first byte.
                    self.wires[command.fetch_id] = Wire(
                        command, self.now_s, self.now_s + 2 * self.link.round_trip_s
                    )
                case Cancel(fetch_id):
                    self.wires.pop(fetch_id, None)
                case Keep(span, _, generation):
                    self.tell(Stored(span, generation))
                case Wait(delay_s):
                    self.wakes_s = self.now_s + delay_s
                case Complete() | GiveUp():
                    self.outcome = command
        self.trace.append((round(self.elapsed_s, 3), len(self.wires)))


LINKS = {
    "smooth": Link(each=10e6),
    "smooth, 40 ms": Link(each=10e6, round_trip_s=0.04),
    "slow start, 40 ms": Link(each=10e6, round_trip_s=0.04, has_slow_start=True),
    "bursts of 1 s": Link(each=10 * MIB, burst_s=1.0),
    "bursts of 0.2 s": Link(each=10 * MIB, burst_s=0.2),
}
if __name__ == "__main__":
    links = LINKS | {
        "shared 10": Link(shared=10e6),
        "shared 100": Link(shared=100e6),
        "shared 40ms ss": Link(shared=100e6, round_trip_s=0.04, has_slow_start=True),
        "shared 10 40ms ss": Link(shared=10e6, round_trip_s=0.04, has_slow_start=True),
        "shared 10 chunky": Link(shared=10e6, chunk_bytes=256 * 1024),
        "shared 3 chunky": Link(shared=3e6, chunk_bytes=128 * 1024),
        "smooth chunky": Link(each=10e6, chunk_bytes=256 * 1024),
        "fast": Link(line=1e9),
        "second refused": Link(each=10e6, takes=1),
        "fifth refused": Link(each=10e6, takes=4),
        "no ranges": Link(each=10e6, has_ranges=False),
        "4x cap": Link(each=10e6, shared=40e6),
        "bursts shared": Link(each=10 * MIB, burst_s=1.0, shared=30e6),
    }
    import time

    for name, link in links.items():
        for size in (256 * MIB, 5 * MIB):
            t = time.perf_counter()
            auto = Play(link, size).run()
            t = time.perf_counter() - t
            many = Play(link, size, 16).run()
            steps = []
            peak = 0
            for s, n in auto.trace:
                if n > peak:
                    peak = n
                    steps.append((s, n))
            dedup = {s: n for s, n in steps}
            print(
                f"{name:20} {size // MIB:4} auto {auto.elapsed_s:6.2f} many {many.elapsed_s:6.2f} ratio {auto.elapsed_s / many.elapsed_s:.2f} peak {auto.transfer.peak_connections} req {auto.requests} waste {auto.received_bytes / size:.2f} refused {auto.transfer.refused_connections} cpu {t:.2f} {auto.outcome and type(auto.outcome).__name__} | many: req {many.requests} waste {many.received_bytes / size:.2f} peak {many.transfer.peak_connections}"
            )
            if size > 5 * MIB:
                print("     ", dedup)
