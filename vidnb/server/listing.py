"""The entries of a folder's page: which files, and in natural order."""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Final, TypeVar

from vidnb.http.media_types import media_type_of

__all__ = ["by_folder", "may_be_video", "natural_key"]

_DIGITS: Final = re.compile(r"([0-9]+)")
_SEGMENTS: Final = frozenset({"video/iso.segment"})  # a media segment is not playable alone
_T = TypeVar("_T")


def natural_key(path: str) -> tuple[object, ...]:
    """Return a sort key for natural order: `part 2` before `part 10`, ignoring case.

    A folder's files come before those of its sub-folders. The path itself is the last part of the
    key, so that no two paths are equal.
    """
    *folders, name = path.split("/")
    stem, _, extension = name.rpartition(".")  # `film.mp4` comes before `film 2.mp4`
    return (tuple(map(_natural, folders)), _natural(stem), _natural(extension), path)


def _natural(text: str) -> tuple[object, ...]:
    # Text and digits alternate, so text is never compared with digits. Numbers compare by length
    # and then digit by digit, so they may have any length.
    return tuple(
        (len(number := part.lstrip("0")), number) if index % 2 else part.casefold()
        for index, part in enumerate(_DIGITS.split(text))
    )


def may_be_video(name: str) -> bool:
    """Return whether a file name is that of a video; hidden files are not listed."""
    media_type = media_type_of(name)
    return (
        not name.startswith(".") and media_type.startswith("video/") and media_type not in _SEGMENTS
    )


def by_folder(paths: Iterable[tuple[str, _T]]) -> list[tuple[str, list[_T]]]:
    """Group pairs of path and item by folder ("" for the top folder), in natural order."""
    ordered = sorted(paths, key=lambda pair: natural_key(pair[0]))
    grouped = groupby(ordered, key=lambda pair: pair[0].rpartition("/")[0])
    return [(folder, [item for _, item in pairs]) for folder, pairs in grouped]
