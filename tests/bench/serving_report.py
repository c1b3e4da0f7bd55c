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
    """The largest allowed figure of vidnb, as a ratio to a peer's or absolute; less is better.

    Medians and bests are compared, and both must hold. "Python" is the best other Python server,
    chosen by the figure `chosen_by` if it is set.
    """

    key: str
    maximum: float
    peer: Literal["", "nginx", "Python"] = ""
    chosen_by: str = ""

    def evaluate(self, runs: Runs, python: Sequence[str]) -> tuple[str, str]:
        """Return the limit as text and its result."""
        names = [NGINX] if self.peer == "nginx" else [one for one in python if one != OURS]
        peers = [name for name in names if runs.get(name)] if self.peer else []
        if not runs.get(OURS) or (self.peer and not peers):
            return f"{self.key} <= {self.maximum:.2f} of {self.peer}", "no figure"
        ours = figures(runs, OURS, self.key)
        if not self.peer:
            median, best = statistics.median(ours), min(ours)
            return f"{self.key} < {self.maximum:g}", _result(median, best, self.maximum)
        key = self.chosen_by or self.key
        peer = min(peers, key=lambda name: statistics.median(figures(runs, name, key)))
        theirs = figures(runs, peer, self.key)
        median = statistics.median(ours) / statistics.median(theirs)
        text = f"{self.key} <= {self.maximum:.2f} of {peer}"
        return text, _result(median, min(ours) / min(theirs), self.maximum)


def figures(runs: Runs, name: str, key: str) -> list[float]:
    """Return one figure of every run of one server."""
    return [run[key] for run in runs[name]]


def _result(median: float, best: float, maximum: float) -> str:
    missed = [name for name, one in (("median", median), ("best", best)) if one > maximum]
    which = f" ({missed[0]})" if len(missed) == 1 else ""
    return f"median {median:.2f}, best {best:.2f}: " + (f"MISSED{which}" if missed else "met")


@dataclass(frozen=True)
class Workload(Generic[_Plan]):
    """One measurement, repeated with every server."""

    title: str
    run: Callable[[Server, _Plan], dict[str, float]]
    columns: Sequence[Column]
    limits: Sequence[Limit]
    is_python_only: bool = False
    max_rounds: int | None = None


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
            f"| | rounds | {titles} | time / nginx's |",
            "|---" * (len(self.columns) + 3) + "|",
            *map(self._row, self.servers),
            "",
            *(" -> ".join((f"- {text}", result)) for text, result in self.lines()),
        ]
        return "\n".join(rows)

    def lines(self) -> list[tuple[str, str]]:
        """Return the limits and their results."""
        python = [server.name for server in self.servers if server.is_python]
        return [limit.evaluate(self.runs, python) for limit in self.limits]

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
        return f"| {server.name} | {' | '.join(cells)} | {self._nginx_ratio(server.name)} |"

    def _nginx_ratio(self, name: str) -> str:
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
