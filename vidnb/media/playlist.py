"""Cut a video into segments, and write the playlist that names them (RFC 8216, HLS).

The segments of a copied video begin at key frames, about 2 s apart; those of an encoded one at the
first frame of every 2 s. A playlist has the time and the duration of all segments before any of
them is made.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from math import ceil
from typing import Final

__all__ = [
    "INIT",
    "INIT_NAME",
    "PLAYLIST",
    "PLAYLIST_NAME",
    "SEGMENT_S",
    "Playlist",
    "at_frames",
    "at_intervals",
    "at_keys",
    "part_name",
    "part_number",
    "with_folder",
]

PLAYLIST_NAME: Final = "index.m3u8"
INIT_NAME: Final = "init.mp4"
PLAYLIST: Final = -2
"""The number of the playlist, beside the segments from 0 on."""
INIT: Final = -1
"""The number of the initialization segment."""
_SEGMENT: Final = re.compile(r"(0|[1-9][0-9]{0,7})\.m4s")
_URI: Final = re.compile(r'^(?=[^#\n])|(?<=^#EXT-X-MAP:URI=")', re.MULTILINE)
SEGMENT_S: Final = Fraction(2)
"""The duration (s) that segments should have."""
MAX_SEGMENTS: Final = 100_000
"""More than two days; a file that claims to be longer has longer segments."""


@dataclass(frozen=True, slots=True)
class Playlist:
    """The segments of a video, or those that exist so far of one that is still encoded.

    `start_s` is the time of the container that is time 0 of a player (s); `starts` are the times
    (s) at which segments start, `end_s` where the last one ends, all on the container's clock.
    The first segment also holds what is shown before its start.
    """

    start_s: Fraction
    starts: tuple[Fraction, ...]
    end_s: Fraction
    is_complete: bool = True

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def durations(self) -> tuple[Fraction, ...]:
        """The duration of each segment (s); the first one counts from time 0 of a player."""
        bounds = (*self._bounds(), self.end_s)
        return tuple(max(Fraction(0), after - before) for before, after in pairwise(bounds))

    def _bounds(self) -> tuple[Fraction, ...]:
        return (self.start_s, *self.starts[1:]) if self.starts else ()

    def interval(self, number: int) -> tuple[Fraction | None, Fraction | None]:
        """Return from when and until when (s) frames belong to a segment; None is no limit."""
        following = number + 1
        return (
            self.starts[number] if number else None,
            self.starts[following] if following < len(self.starts) else None,
        )

    def text(self) -> str:
        """Return the playlist; its URIs are the names of the parts."""
        durations = self.durations
        kind = "VOD" if self.is_complete else "EVENT"
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            # RFC 8216, section 4.3.3.1: rounded, and never smaller than a segment.
            f"#EXT-X-TARGETDURATION:{max(1, ceil(max(durations, default=1)))}",
            "#EXT-X-MEDIA-SEQUENCE:0",
            f"#EXT-X-PLAYLIST-TYPE:{kind}",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            # For vidnb's own player; a client ignores tags that it does not know (section 6.3.1).
            f"#EXT-X-VIDNB-START:{float(self.start_s):.6f}",
            f'#EXT-X-MAP:URI="{INIT_NAME}"',
        ]
        for number, text in enumerate(_decimals(durations)):
            lines += [f"#EXTINF:{text},", part_name(number)]
        if self.is_complete:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"


def part_number(name: str) -> int | None:
    """Return the number of a part: that of a segment, `INIT` or `PLAYLIST`; None for others."""
    found = _SEGMENT.fullmatch(name)
    return int(found[1]) if found else {PLAYLIST_NAME: PLAYLIST, INIT_NAME: INIT}.get(name)


def part_name(number: int) -> str:
    """Return the name of a part."""
    return {PLAYLIST: PLAYLIST_NAME, INIT: INIT_NAME}.get(number, f"{number}.m4s")


def with_folder(playlist: str, folder: str) -> str:
    """Return a playlist for the folder above: every URI in it (RFC 8216) begins with `folder`."""
    return _URI.sub(f"{folder}/", playlist)


def _decimals(durations: Iterable[Fraction]) -> list[str]:
    """Return durations with six decimals, whose sums are rounded, so that errors do not add up."""
    micros = [round(end * 1_000_000) for end in accumulate(durations, initial=Fraction(0))]
    return [f"{(b - a) // 1_000_000}.{(b - a) % 1_000_000:06d}" for a, b in pairwise(micros)]


def at_keys(keys: Sequence[Fraction], end_s: Fraction) -> tuple[Fraction, ...]:
    """Return the starts (s) of segments at key frames, each at least about 2 s after the last.

    `keys` are the times (s) of the key frames, increasing. A key frame shortly before 2 s starts
    one too, if that is closer to 2 s than the next key frame.
    """
    least_s = _interval(keys[0], end_s) if keys else SEGMENT_S
    starts = list(keys[:1])
    for at, key in enumerate(keys[1:], 1):
        elapsed_s = key - starts[-1]
        following = keys[at + 1] if at + 1 < len(keys) else end_s
        is_closer = least_s - elapsed_s < following - starts[-1] - least_s
        if elapsed_s >= least_s or (elapsed_s > least_s / 2 and is_closer):
            starts.append(key)
    return tuple(starts)


def at_frames(times: Sequence[Fraction], end_s: Fraction) -> tuple[Fraction, ...]:
    """Return the starts (s) of segments at the first frame of every 2 s after the first frame."""
    starts: list[Fraction] = []
    at = 0
    while at < len(times):
        starts.append(times[at])
        step_s = _interval(times[0], end_s)
        due_s = times[0] + ((times[at] - times[0]) // step_s + 1) * step_s
        at = bisect_left(times, due_s, at + 1)
    return tuple(starts)


def at_intervals(start_s: Fraction, end_s: Fraction) -> tuple[Fraction, ...]:
    """Return the starts (s) of segments of exactly 2 s, for a video whose frames are not known."""
    step_s = _interval(start_s, end_s)
    count = max(1, ceil((end_s - start_s) / step_s))
    # A last segment of a few milliseconds may hold no frame: it joins the one before.
    if count > 1 and end_s - start_s - (count - 1) * step_s < step_s / 4:
        count -= 1
    return tuple(start_s + number * step_s for number in range(count))


def _interval(start_s: Fraction, end_s: Fraction) -> Fraction:
    """Return the duration of segments (s): 2, or more where there would be too many."""
    return max(SEGMENT_S, (end_s - start_s) / MAX_SEGMENTS)
