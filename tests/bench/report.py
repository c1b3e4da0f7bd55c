"""The report: a table for each workload, and the target lines."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.bench.measure import Contestant

Kind = Literal["time", "cpu", "peak"]


@dataclass(frozen=True)
class Line:
    """One target: `ours` compared with the fastest of `peers`, or with `most` alone.

    `time` compares medians and bests, and both must hold; `cpu` compares medians; `peak` is our
    largest peak, in MiB, and has no peer.
    """

    ours: str
    peers: tuple[str, ...]
    most: float
    kind: Kind = "time"
    is_below: bool = False

    def judge(self, found: Sequence[Contestant]) -> tuple[str, str]:
        """Return the target as text and its result."""
        named = {one.name: one for one in found if one.runs}
        peers = [named[name] for name in self.peers if name in named]
        sign = "<" if self.is_below else "<="
        if self.ours not in named or (self.peers and not peers):
            whom = " of ".join([self.kind, *self.peers[:1]])
            return f"{self.ours}: {whom} {sign} {self.most}", "no figure"
        ours = named[self.ours]
        if self.kind == "peak":
            text = f"{self.ours}: peak {sign} {self.most:g} MiB"
            return text, _verdict(
                f"{ours.peak_mib:.0f} MiB", [] if ours.peak_mib < self.most else [""]
            )
        peer = min(peers, key=lambda one: statistics.median(one.elapsed_s))
        text = f"{self.ours}: {self.kind} {sign} {self.most:.2f} of {peer.name}"
        if self.kind == "cpu":
            ratio = ours.cpu_s / max(peer.cpu_s, 1e-6)
            return text, _verdict(f"{ratio:.2f}", [] if ratio <= self.most else [""])
        median, best = ratios(ours, peer)
        missed = [name for name, ratio in (("median", median), ("best", best)) if ratio > self.most]
        return text, _verdict(f"median {median:.2f}, best {best:.2f}", missed)


def _verdict(figure: str, missed: list[str]) -> str:
    by = f" by the {missed[0]}" if len(missed) == 1 and missed[0] else ""
    return f"{figure}: MISSED{by}" if missed else f"{figure}: met"


def ratios(ours: Contestant, peer: Contestant) -> tuple[float, float]:
    """Return the ratios of vidnb's time to the other client's: of the medians, of the bests."""
    return (
        statistics.median(ours.elapsed_s) / statistics.median(peer.elapsed_s),
        min(ours.elapsed_s) / min(peer.elapsed_s),
    )


@dataclass
class Report:
    """One workload: its title, clients and targets."""

    name: str
    title: str
    contestants: list[Contestant] = field(default_factory=list)
    lines: Sequence[Line] = ()
    skipped: str = ""

    def table(self) -> str:
        """Return the table in Markdown, with the targets below it."""
        head = f"\n## {self.name}: {self.title}\n"
        if self.skipped:
            return f"{head}\nskipped: {self.skipped}"
        by = "vidnb's time by its (median, best)"
        rows = [
            f"| | rounds | median s | best s | CPU s | peak MiB | {by} |",
            "|---|---|---|---|---|---|---|",
        ]
        ours = next((one for one in self.contestants if "vidnb" in one.name and one.runs), None)
        rows += [_row(one, ours) for one in self.contestants]
        judged = [" -> ".join(line.judge(self.contestants)) for line in self.lines]
        return "\n".join([head, *rows, "", *(f"- {line}" for line in judged)])

    def data(self) -> dict[str, Any]:
        """Return all figures, for a file."""
        return {
            "name": self.name,
            "title": self.title,
            "skipped": self.skipped,
            "contestants": [
                {
                    "name": one.name,
                    "missing": one.missing,
                    "failed": one.failed,
                    "start_up_s": one.start_up_s,
                    "start_up_cpu_s": one.start_up_cpu_s,
                    "elapsed_s": one.elapsed_s,
                    "cpu_s": [took.cpu_s for took in one.runs],
                    "peak_mib": [took.peak_mib for took in one.runs],
                    "said": [took.said for took in one.runs],
                }
                for one in self.contestants
            ],
            "lines": [list(line.judge(self.contestants)) for line in self.lines],
        }


def _row(one: Contestant, ours: Contestant | None) -> str:
    if not one.runs:
        why = one.missing or f"failed: {one.failed}"
        return f"| {one.name} | {why} | | | | | |"
    rounds = f"{len(one.runs)}, then failed: {one.failed}" if one.failed else str(len(one.runs))
    median_s, best_s = statistics.median(one.elapsed_s), min(one.elapsed_s)
    places = 2 if median_s >= 1 else 3
    by = "" if ours is None else "{:.2f}, {:.2f}".format(*ratios(ours, one))
    return (
        f"| {one.name} | {rounds} | {median_s:.{places}f} | {best_s:.{places}f}"
        f" | {one.cpu_s:.{places}f} | {one.peak_mib:.0f} | {by} |"
    )
