"""The report: a table for each workload, and its targets."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.bench.measure import Client

Kind = Literal["time", "cpu", "peak"]


@dataclass(frozen=True)
class Target:
    """One target: `client` compared with the fastest of `peers`, or with `limit` alone.

    `time` compares medians and bests, and both must hold; `cpu` compares medians; `peak` is our
    largest peak, in MiB, and has no peer.
    """

    client: str
    peers: tuple[str, ...]
    limit: float
    kind: Kind = "time"
    is_below: bool = False

    def evaluate(self, found: Sequence[Client]) -> tuple[str, str]:
        """Return the target as text and its result."""
        named = {one.name: one for one in found if one.runs}
        peers = [named[name] for name in self.peers if name in named]
        sign = "<" if self.is_below else "<="
        if self.client not in named or (self.peers and not peers):
            figure = " of ".join([self.kind, *self.peers[:1]])
            return f"{self.client}: {figure} {sign} {self.limit}", "no figure"
        ours = named[self.client]
        if self.kind == "peak":
            text = f"{self.client}: peak {sign} {self.limit:g} MiB"
            return text, _result(
                f"{ours.peak_mib:.0f} MiB", [] if ours.peak_mib < self.limit else [""]
            )
        peer = min(peers, key=lambda one: statistics.median(one.elapsed_s))
        text = f"{self.client}: {self.kind} {sign} {self.limit:.2f} of {peer.name}"
        if self.kind == "cpu":
            ratio = ours.cpu_s / max(peer.cpu_s, 1e-6)
            return text, _result(f"{ratio:.2f}", [] if ratio <= self.limit else [""])
        median, best = ratios(ours, peer)
        missed = [
            name for name, ratio in (("median", median), ("best", best)) if ratio > self.limit
        ]
        return text, _result(f"median {median:.2f}, best {best:.2f}", missed)


def _result(figure: str, missed: list[str]) -> str:
    which = f" ({missed[0]})" if len(missed) == 1 and missed[0] else ""
    return f"{figure}: MISSED{which}" if missed else f"{figure}: met"


def ratios(ours: Client, peer: Client) -> tuple[float, float]:
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
    clients: list[Client] = field(default_factory=list)
    targets: Sequence[Target] = ()
    skipped: str = ""

    def table(self) -> str:
        """Return the table in Markdown, with the targets below it."""
        head = f"\n## {self.name}: {self.title}\n"
        if self.skipped:
            return f"{head}\nskipped: {self.skipped}"
        ratio = "vidnb / client (median, best)"
        rows = [
            f"| | rounds | median s | best s | CPU s | peak MiB | {ratio} |",
            "|---|---|---|---|---|---|---|",
        ]
        ours = next((one for one in self.clients if "vidnb" in one.name and one.runs), None)
        rows += [_row(one, ours) for one in self.clients]
        results = [" -> ".join(target.evaluate(self.clients)) for target in self.targets]
        return "\n".join([head, *rows, "", *(f"- {line}" for line in results)])

    def data(self) -> dict[str, Any]:
        """Return all figures, for a file."""
        return {
            "name": self.name,
            "title": self.title,
            "skipped": self.skipped,
            "clients": [
                {
                    "name": one.name,
                    "missing": one.missing,
                    "failed": one.failed,
                    "start_up_s": one.start_up_s,
                    "start_up_cpu_s": one.start_up_cpu_s,
                    "elapsed_s": one.elapsed_s,
                    "cpu_s": [run.cpu_s for run in one.runs],
                    "peak_mib": [run.peak_mib for run in one.runs],
                    "output": [run.output for run in one.runs],
                }
                for one in self.clients
            ],
            "targets": [list(target.evaluate(self.clients)) for target in self.targets],
        }


def _row(one: Client, ours: Client | None) -> str:
    if not one.runs:
        why = one.missing or f"failed: {one.failed}"
        return f"| {one.name} | {why} | | | | | |"
    rounds = f"{len(one.runs)}, then failed: {one.failed}" if one.failed else str(len(one.runs))
    median_s, best_s = statistics.median(one.elapsed_s), min(one.elapsed_s)
    places = 2 if median_s >= 1 else 3
    ratio = "" if ours is None else "{:.2f}, {:.2f}".format(*ratios(ours, one))
    return (
        f"| {one.name} | {rounds} | {median_s:.{places}f} | {best_s:.{places}f}"
        f" | {one.cpu_s:.{places}f} | {one.peak_mib:.0f} | {ratio} |"
    )
