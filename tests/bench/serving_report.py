"""The report of the server bench: for each workload a table and its limits."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from tests.bench.servers import NGINX, OURS, Server

_Plan = TypeVar("_Plan")
Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""The figures of each run, by the server's name."""


@dataclass(frozen=True)
class Column:
    """One figure: its key, its title, and which way is better."""

    key: str
    title: str
    is_more_better: bool = False


@dataclass(frozen=True)
class Limit:
    """The largest allowed figure of ours, less being better, as a ratio to a peer's or by itself.

    Medians and bests are compared, and both must hold. "Python" is the best other Python server,
    by `judged_by` where that is another figure.
    """

    key: str
    most: float
    peer: Literal["", "nginx", "Python"] = ""
    judged_by: str = ""

    def judge(self, runs: Runs, python: Sequence[str]) -> tuple[str, str]:
        """Return the limit as text and the verdict."""
        names = [NGINX] if self.peer == "nginx" else [one for one in python if one != OURS]
        peers = [name for name in names if runs.get(name)] if self.peer else []
        if not runs.get(OURS) or (self.peer and not peers):
            return f"{self.key} <= {self.most:.2f} of {self.peer}", "no figure"
        ours = figures(runs, OURS, self.key)
        if not self.peer:
            median, best = statistics.median(ours), min(ours)
            return f"{self.key} < {self.most:g}", _verdict(median, best, self.most)
        by = self.judged_by or self.key
        peer = min(peers, key=lambda name: statistics.median(figures(runs, name, by)))
        theirs = figures(runs, peer, self.key)
        median = statistics.median(ours) / statistics.median(theirs)
        text = f"{self.key} <= {self.most:.2f} of {peer}"
        return text, _verdict(median, min(ours) / min(theirs), self.most)


def figures(runs: Runs, name: str, key: str) -> list[float]:
    """Return one figure of every run of one server."""
    return [run[key] for run in runs[name]]


def _verdict(median: float, best: float, most: float) -> str:
    missed = [name for name, one in (("median", median), ("best", best)) if one > most]
    by = f" by the {missed[0]}" if len(missed) == 1 else ""
    return f"median {median:.2f}, best {best:.2f}: " + (f"MISSED{by}" if missed else "met")


@dataclass(frozen=True)
class Workload(Generic[_Plan]):
    """One measurement that is made with every server."""

    title: str
    run: Callable[[Server, _Plan], dict[str, float]]
    columns: Sequence[Column]
    limits: Sequence[Limit]
    is_python_only: bool = False
    most_rounds: int | None = None


@dataclass
class Report:
    """The results of a workload."""

    name: str
    title: str
    columns: Sequence[Column]
    limits: Sequence[Limit]
    servers: Sequence[Server]
    runs: dict[str, list[dict[str, float]]]
    failed: dict[str, str]

    def table(self) -> str:
        """Return the table in Markdown, with the limits below it."""
        titles = " | ".join(f"{column.title} (best)" for column in self.columns)
        rows = [
            f"\n## {self.name}: {self.title}\n",
            f"| | rounds | {titles} | time by nginx's |",
            "|---" * (len(self.columns) + 3) + "|",
            *map(self._row, self.servers),
            "",
            *(" -> ".join((f"- {text}", became)) for text, became in self.lines()),
        ]
        return "\n".join(rows)

    def lines(self) -> list[tuple[str, str]]:
        """Return the limits and the verdicts."""
        python = [server.name for server in self.servers if server.is_python]
        return [limit.judge(self.runs, python) for limit in self.limits]

    def _row(self, server: Server) -> str:
        runs = self.runs.get(server.name)
        if not runs:
            why = server.missing or f"failed: {self.failed.get(server.name, 'not run')}"
            return f"| {server.name} | {why} |" + " |" * (len(self.columns) + 1)
        cells = [str(len(runs))]
        for column in self.columns:
            found = figures(self.runs, server.name, column.key)
            best = max(found) if column.is_more_better else min(found)
            cells.append(f"{_short(statistics.median(found))} ({_short(best)})")
        return f"| {server.name} | {' | '.join(cells)} | {self._by_nginx(server.name)} |"

    def _by_nginx(self, name: str) -> str:
        key = "each_ms" if self.columns[0].key == "rate" else self.columns[0].key
        if not self.runs.get(NGINX) or key == "added_mib":
            return ""
        ours, theirs = figures(self.runs, name, key), figures(self.runs, NGINX, key)
        median = statistics.median(ours) / statistics.median(theirs)
        return f"{median:.2f} ({min(ours) / min(theirs):.2f})"

    def data(self) -> dict[str, Any]:
        """Return all figures, for a file."""
        missing = {server.name: server.missing for server in self.servers if server.missing}
        return {
            "name": self.name,
            "title": self.title,
            "runs": self.runs,
            "failed": self.failed | missing,
            "lines": self.lines(),
        }


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
