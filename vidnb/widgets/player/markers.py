"""The markers of a player: set in Python or by a person who watches, told to every view.

Python holds them. A view shows what it is told through the trait `marks`, which the browser never
writes; a marker that is set there comes as a message, and is known by its `id`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, overload

import traitlets as t

from vidnb.widgets.player.views import seconds

__all__ = ["Marker", "Markers", "MarkersMixin", "checked_markers"]

_MOST_LABEL_CHARS: Final = 1000  # a message from a page must not fill the memory
_MOST_FROM_A_PAGE: Final = 10_000


class Marker(NamedTuple):
    """A place in a video: `t_s` seconds from the start, and what it is called (may be empty)."""

    t_s: float
    label: str = ""


class Markers(Sequence[Marker]):
    """The markers of one player by time, as `(t_s, label)`; changed with the methods here.

    Reads like a list of tuples. May be used from any thread; each change is shown at once.
    """

    def __init__(self, changed: Callable[[list[dict[str, Any]]], None]) -> None:
        self._lock = threading.RLock()
        self._changed = changed
        self._by_id: dict[str, Marker] = {}
        self._made = 0

    def add(self, t_s: float, label: str = "") -> Marker:
        """Set a marker at `t_s` seconds and return it; `ValueError` where that is no time."""
        marker = _checked((t_s, label))
        with self._lock:
            self._put(marker)
            self._tell()
        return marker

    def remove(self, marker: Marker | tuple[float, str]) -> None:
        """Take one away; `ValueError` where there is none like it."""
        with self._lock:
            found = next((key for key, one in self._by_id.items() if one == marker), None)
            if found is None:
                raise ValueError(f"there is no marker {tuple(marker)!r}")
            del self._by_id[found]
            self._tell()

    def clear(self) -> None:
        """Take all away."""
        self.replace(())

    def replace(self, markers: Iterable[tuple[float, str]]) -> None:
        """Have these markers and no others, as `player.markers = …` does."""
        checked = checked_markers(markers)
        with self._lock:
            self._by_id.clear()
            for marker in checked:
                self._put(marker)
            self._tell()

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
        with self._lock:
            chosen = self._keys()[index]
            for key in [chosen] if isinstance(chosen, str) else chosen:
                del self._by_id[key]
            self._tell()

    def __setitem__(self, index: int, marker: tuple[float, str]) -> None:
        checked = _checked(marker)
        with self._lock:
            self._by_id[self._keys()[index]] = checked
            self._tell()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Markers):
            return self._sorted() == other._sorted()
        return self._sorted() == other

    __hash__ = None  # type: ignore[assignment]  # like a list: what it holds may change

    def __repr__(self) -> str:
        return repr([tuple(marker) for marker in self._sorted()])

    def hear(self, content: Mapping[str, object]) -> bool:
        """Take a message of a page; return whether a marker was set or removed by it."""
        key = content.get("id")
        if not isinstance(key, str):
            return False
        with self._lock:
            if content.get("action") == "remove":
                changed = self._by_id.pop(key, None) is not None
            else:
                t_s, label = seconds(content.get("t_s")), content.get("label")
                changed = (
                    content.get("action") == "add"
                    and t_s is not None
                    and isinstance(label, str)
                    and len(label) <= _MOST_LABEL_CHARS
                    and key not in self._by_id
                    and len(self._by_id) < _MOST_FROM_A_PAGE
                )
                if changed and t_s is not None and isinstance(label, str):
                    self._by_id[key] = Marker(t_s, label)
            if changed:
                self._tell()
        return changed

    def _keys(self) -> list[str]:
        return [key for key, _ in sorted(self._by_id.items(), key=lambda item: item[1].t_s)]

    def _sorted(self) -> list[Marker]:
        with self._lock:
            return sorted(self._by_id.values(), key=lambda marker: marker.t_s)

    def _put(self, marker: Marker) -> None:
        self._made += 1
        self._by_id[f"python-{self._made}"] = marker

    def _tell(self) -> None:
        by_id = self._by_id
        self._changed([{"id": key, **by_id[key]._asdict()} for key in self._keys()])


def checked_markers(markers: Iterable[tuple[float, str]]) -> list[Marker]:
    """Return `markers` as such; `ValueError` where one is none."""
    return [_checked(marker) for marker in markers]


def _checked(marker: object) -> Marker:
    match marker:
        case (t_s, str() as label) if (checked := seconds(t_s)) is not None:
            return Marker(checked, label)
    raise ValueError(
        f"a marker is (t_s, label): seconds from the start, finite and not negative, and a text, "
        f"not {marker!r}"
    )


class MarkersMixin(t.HasTraits):
    """The half of `Player` that keeps its markers."""

    marks: t.List[dict[str, Any]] = t.List(help="The markers, for the views: id, t_s, label.").tag(
        sync=True
    )

    @property
    def markers(self) -> Markers:
        """The markers by time; assign a list of `(t_s, label)`, or use `add` and `remove`.

        A person sets one with the key `m` or the button under the picture; `on("marker", fn)`
        hears of each that is set or removed there.
        """
        held: Markers | None = self.__dict__.get("_vidnb_markers")
        if held is None:
            held = self.__dict__.setdefault("_vidnb_markers", Markers(self._vidnb_show_marks))
        return held

    @markers.setter
    def markers(self, markers: Iterable[tuple[float, str]]) -> None:
        self.markers.replace(markers)

    def markers_table(self) -> list[dict[str, float | str]]:
        """Return a row for each marker by time, `t_s` (s) and `label`, for a DataFrame."""
        return [dict(marker._asdict()) for marker in self.markers]

    def _vidnb_show_marks(self, marks: list[dict[str, Any]]) -> None:
        self.marks = marks
