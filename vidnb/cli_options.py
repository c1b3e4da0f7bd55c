"""The options of `vidnb get`: those of `vidnb.download`, generated from `DownloadOptions`.

With `--input` they are those of `vidnb.download_many`: the same and `_BATCH_FLAGS`.
An option of a plain type has a flag by its name, `--idle-timeout` for `idle_timeout_s`. One that is
written in another way needs a line in `_FLAGS`; an object of Python's, such as a session, has none.
"""

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args, get_origin

__all__ = [
    "add_batch_options",
    "add_download_options",
    "parse_size",
    "read_batch_options",
    "read_download_options",
]

_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?) ?(?:([kKmMgGtT])(i)?)?[bB]?")


@dataclass(frozen=True, slots=True)
class _Flag:
    """The flag of an option that is no plain value; `read` takes the texts of all its uses."""

    name: str
    metavar: str
    read: Callable[[list[str]], object]
    help: str = ""


def _last(texts: Sequence[str]) -> str:
    return texts[-1]


def _read_headers(fields: Sequence[str]) -> dict[str, str]:
    headers = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon:
            raise argparse.ArgumentTypeError("a header is written 'NAME: VALUE'")
        headers[name.strip()] = value.strip()
    return headers


def _read_retries(counts: Sequence[str]) -> object:
    from vidnb.download.planner.retry import RetryPolicy

    count = counts[-1]
    if not (count.isascii() and count.isdigit() and len(count) <= 6):
        raise argparse.ArgumentTypeError(f"{count!r} is not a number of retries")
    return RetryPolicy(attempts=int(count) + 1)


# A download option of a plain type needs no line here.
_FLAGS: Final = {
    "headers": _Flag("--header", "'NAME: VALUE'", _read_headers),
    "cookies": _Flag("--cookies", "FILE", _last, "A cookie file in Netscape's format."),
    "retry": _Flag("--retries", "N", _read_retries, "Retries without progress; 0: none."),
}
_UNITS: Final = {"bytes": "SIZE", "s": "SECONDS"}


# The keywords of `vidnb.download_many` that are not options of a download: type, metavar, help.
_BATCH_FLAGS: Final[dict[str, tuple[Any, str, str]]] = {
    "url": (str, "COLUMN", "The column with the URLs; default: url."),
    "name": (
        str,
        "NAME",
        "A column with the file names, or a pattern such as '{id}.mp4'; default: that of the URL.",
    ),
    "checksum": (str, "COLUMN", "The column with the checksums, as sha256:..."),
    "concurrency": (int, "N", "The most rows at once; default: 16."),
    "per_host": (int, "N", "The most rows at once from one host; default: 4."),
    "attempts": (int, "N", "The most attempts for a row; default: 3."),
    "deadline_s": (float, "SECONDS", "The longest time for a row, with all its attempts."),
    "status": (str, "FILE", "Write what became of each row to a .csv, .jsonl or .parquet file."),
    "dedupe": (str, "HOW", "Files with the same bytes: report (default) or link (hard links)."),
}


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each keyword of `vidnb.download_many`, and `--quiet`."""
    for name, (kind, metavar, text) in _BATCH_FLAGS.items():
        parser.add_argument(
            f"--{name.removesuffix('_s').replace('_', '-')}",
            dest=name,
            type=kind,
            metavar=metavar,
            choices=("report", "link") if name == "dedupe" else None,
            help=text,
        )
    add_download_options(parser, without=(*_BATCH_FLAGS, "retry"))  # --attempts


def read_batch_options(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return the given options as `vidnb.download_many` takes them."""
    given = {name: getattr(arguments, name) for name in _BATCH_FLAGS}
    return read_download_options(parser, arguments) | {
        name: value for name, value in given.items() if value is not None
    }


def add_download_options(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add a flag for each option of `vidnb.download` but `without`, and `--quiet`."""
    from vidnb.download.options import option_types

    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress, no retries")
    for name, (hint, default, text) in option_types().items():
        if name in without:
            continue
        flag = _FLAGS.get(name)
        shown = (
            ((flag and flag.help) or text).replace("`", "").replace("…", "...").replace("%", "%%")
        )
        if flag is not None:
            parser.add_argument(
                flag.name, dest=name, metavar=flag.metavar, action="append", help=shown
            )
            continue
        kinds = [kind for kind in get_args(hint) if kind is not type(None)] or [hint]
        unit = name.rpartition("_")[2]
        stem = name.removesuffix("_s").replace("_", "-")
        add = partial(parser.add_argument, f"--{stem}", dest=name, default=argparse.SUPPRESS)
        match kinds:
            case [kind] if kind is bool and default:
                parser.add_argument(
                    f"--no-{stem}",
                    dest=name,
                    default=argparse.SUPPRESS,
                    action="store_false",
                    help=f"Do not {shown[0].lower()}{shown[1:]}",
                )
            case [kind] if kind is bool:
                add(action="store_true", help=shown)
            case [kind] if kind in {int, float, str}:
                read = parse_size if unit == "bytes" else kind
                add(type=read, metavar=_UNITS.get(unit, "TEXT" if kind is str else "N"), help=shown)
            case _ if get_origin(hint) is Literal:
                add(choices=get_args(hint), help=shown)
            case _:
                continue  # an object of Python's, such as a session


def parse_size(text: str) -> int:
    """Return a number of bytes: `1000`, `500k`, `1.5GB` (powers of 1000), `2GiB` (of 1024)."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M or 2GiB")
    number, prefix, binary = found.groups()
    power = "kmgt".index(prefix.lower()) + 1 if prefix else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


def read_download_options(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return the given options as `vidnb.download` takes them; exit with wrong usage otherwise."""
    from vidnb.download.options import option_types

    given = {name: vars(arguments).get(name) for name in option_types()}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in _FLAGS.keys() & options.keys():
        try:
            options[name] = _FLAGS[name].read(options[name])
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument {_FLAGS[name].name}: {error}")
    return options
