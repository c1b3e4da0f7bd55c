"""The markers of a player, set in Python or in the page, shown in every view.

Python owns them. The views get them by the trait `marker_list`, which the browser never writes; a
marker that is set in a page comes as a message, with an `id` made there.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple, overload

import traitlets as t

from vidnb.widgets.player.arguments import check_number, seconds
from vidnb.widgets.player.channel import Outbox

__all__ = ["Marker", "Markers", "MarkersMixin", "check_markers"]

_MAX_LABEL_CHARS: Final = 1000  # messages from a page must not exhaust the memory
_MAX_MARKERS: Final = 10_000


class Marker(NamedTuple):
    """A time in a video: `t_s` seconds from the start, and a label, which may be empty."""

    t_s: float
    label: str = ""


class Markers(Sequence[Marker]):
    """The markers of one player by time, as `(t_s, label)`; changed with the methods here.

    Reads like a list of tuples. Thread-safe; each change is shown at once, by `show`, which is
    called through `outbox`.
    """

    def __init__(self, outbox: Outbox, show: Callable[[list[dict[str, Any]]], None]) -> None:
        self._lock = threading.RLock()
        self._outbox, self._show = outbox, show
        self._by_id: dict[str, Marker] = {}
        self._count = 0

    def add(self, t_s: float, label: str = "") -> Marker:
        """Set a marker at `t_s` seconds and return it; `ValueError` where that is no time."""
        marker = _check_marker((t_s, label))
        with self._changing():
            self._insert(marker)
        return marker

    def remove(self, marker: Marker | tuple[float, str]) -> None:
        """Remove one marker; `ValueError` where there is none like it."""
        with self._changing():
            found = next((key for key, one in self._by_id.items() if one == marker), None)
            if found is None:
                raise ValueError(f"there is no marker {tuple(marker)!r}")
            del self._by_id[found]

    def clear(self) -> None:
        """Remove all markers."""
        self.replace(())

    def replace(self, markers: Iterable[tuple[float, str]]) -> None:
        """Replace all markers, as `player.markers = …` does."""
        checked = check_markers(markers)
        with self._changing():
            self._by_id.clear()
            for marker in checked:
                self._insert(marker)

    def __len__(self) -> int:
        return len(self._by_id)

    @overload
    def __getitem__(self, index: int) -> Marker: ...
    @overload
    def __getitem__(self, index: slice) -> list[Marker]: ...
    def __getitem__(self, index: int | slice) -> Marker | list[Marker]:
        return self._sorted()[index]

    def __iter__(self) -> Iterator[Marker]:
        return iter(self._sorted())

    def __delitem__(self, index: int | slice) -> None:
        with self._changing():
            chosen = self._keys()[index]
            for key in [chosen] if isinstance(chosen, str) else chosen:
                del self._by_id[key]

    def __setitem__(self, index: int, marker: tuple[float, str]) -> None:
        checked = _check_marker(marker)
        with self._changing():
            self._by_id[self._keys()[index]] = checked

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Markers):
            return self._sorted() == other._sorted()
        return self._sorted() == other

    __hash__ = None  # type: ignore[assignment]  # mutable, like a list

    def __repr__(self) -> str:
        return repr([tuple(marker) for marker in self._sorted()])

    def handle_message(self, content: Mapping[str, object]) -> bool:
        """Apply a message of a page; return whether it set or removed a marker."""
        with self._lock:
            changed = self._apply(content)
            if changed:
                self._queue()
        self._outbox.flush()
        return changed

    def _apply(self, content: Mapping[str, object]) -> bool:
        key, action, label = content.get("id"), content.get("action"), content.get("label")
        t_s = seconds(content.get("t_s"))
        if not isinstance(key, str):
            return False
        if action == "remove":
            return self._by_id.pop(key, None) is not None
        if action != "add" or t_s is None or not isinstance(label, str):
            return False
        is_full = len(self._by_id) >= _MAX_MARKERS
        if is_full or key in self._by_id or len(label) > _MAX_LABEL_CHARS:
            return False
        self._by_id[key] = Marker(t_s, label)
        return True

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock for a change, then show the markers; after an error nothing is shown."""
        with self._lock:
            yield
            self._queue()
        self._outbox.flush()

    def _queue(self) -> None:
        by_id = self._by_id
        markers = [{"id": key, **by_id[key]._asdict()} for key in self._keys()]
        self._outbox.add(partial(self._show, markers))

    def _keys(self) -> list[str]:
        return [key for key, _ in sorted(self._by_id.items(), key=lambda item: item[1].t_s)]

    def _sorted(self) -> list[Marker]:
        with self._lock:
            return sorted(self._by_id.values(), key=lambda marker: marker.t_s)

    def _insert(self, marker: Marker) -> None:
        self._count += 1
        self._by_id[f"python-{self._count}"] = marker


def check_markers(markers: Iterable[tuple[float, str]]) -> list[Marker]:
    """Return `markers` as `Marker`; `ValueError` where one is not `(t_s, label)`."""
    return [_check_marker(marker) for marker in markers]


def _check_marker(marker: object) -> Marker:
    match marker:
        case (t_s, str() as label):
            return Marker(check_number("the t_s of a marker", t_s, minimum=0), label)
    raise ValueError(f"a marker is (t_s, label), a number of seconds and a text, not {marker!r}")


class MarkersMixin(t.HasTraits):
    """The part of `Player` that has the markers."""

    marker_list: t.List[dict[str, Any]] = t.List(help="id, t_s, label of each.").tag(sync=True)
    _vidnb_markers: Markers

    @property
    def markers(self) -> Markers:
        """The markers by time; assign a list of `(t_s, label)`, or use `add` and `remove`.

        In the page the key `m` or the button under the picture sets one; `on("marker", fn)` calls
        `fn` for each that is set or removed there.
        """
        return self._vidnb_markers

    @markers.setter
    def markers(self, markers: Iterable[tuple[float, str]]) -> None:
        self.markers.replace(markers)

    def markers_table(self) -> list[dict[str, float | str]]:
        """Return a row for each marker by time, `t_s` (s) and `label`, for a DataFrame."""
        return [dict(marker._asdict()) for marker in self.markers]
