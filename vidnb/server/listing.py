"""What a folder's page lists, and in which order."""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Final, TypeVar

from vidnb.http.media_types import media_type_of

__all__ = ["by_folder", "may_be_video", "natural_key"]

_DIGITS: Final = re.compile(r"([0-9]+)")
_PIECES: Final = frozenset({"video/iso.segment"})  # a piece of a stream plays nowhere alone
_T = TypeVar("_T")


def natural_key(path: str) -> tuple[object, ...]:
    """Return what sorts paths as people do: `part 2` before `part 10`, in either case.

    A folder's own files come before those of its sub-folders. The path itself comes last, so that
    no two paths are equal.
    """
    *folders, name = path.split("/")
    stem, _, extension = name.rpartition(".")  # `film.mp4` comes before `film 2.mp4`
    return (tuple(map(_natural, folders)), _natural(stem), _natural(extension), path)


def _natural(text: str) -> tuple[object, ...]:
    # Text and digits take turns, so two names never compare one with the other. Numbers compare by
    # length and then digit by digit, however long they are.
    return tuple(
        (len(number := piece.lstrip("0")), number) if place % 2 else piece.casefold()
        for place, piece in enumerate(_DIGITS.split(text))
    )


def may_be_video(name: str) -> bool:
    """Tell whether a file of this name belongs into a list of videos. Hidden files do not."""
    media_type = media_type_of(name)
    return (
        not name.startswith(".") and media_type.startswith("video/") and media_type not in _PIECES
    )


def by_folder(paths: Iterable[tuple[str, _T]]) -> list[tuple[str, list[_T]]]:
    """Group what has a path by the folder it is in ("" for the first), in natural order."""
    ordered = sorted(paths, key=lambda pair: natural_key(pair[0]))
    grouped = groupby(ordered, key=lambda pair: pair[0].rpartition("/")[0])
    return [(folder, [item for _, item in pairs]) for folder, pairs in grouped]
