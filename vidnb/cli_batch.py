"""The command `vidnb get --input LIST FOLDER`: `vidnb.download_many` on the command line.

The folder goes to standard output, everything else to standard error. The exit status is 1 if rows
failed, 130 for an interrupt; the same command again downloads only what is missing.
"""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from vidnb.cli_options import add_batch_options, read_batch_options
from vidnb.io.standard_streams import write_error_line

__all__ = ["add_batch_command", "get_batch", "has_input"]

_INPUT: Final = {"--in", "--inp", "--inpu", "--input"}  # argparse takes the beginning of an option


def has_input(argv: Sequence[str]) -> bool:
    """Whether the arguments of `vidnb get` have `--input`, and so a folder in place of a URL."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return any(word.partition("=")[0] in _INPUT for word in words)


def add_batch_command(commands: Any) -> None:
    """Add the form of `get` with a list; `commands` are the subparsers of the command line."""
    get = commands.add_parser(
        "get",
        help="download the rows of a table, complete and verified; run it again to resume",
        usage="vidnb get --input LIST [options] FOLDER",
        epilog="example: vidnb get --input films.csv --checksum sha256 --per-host 2 videos/",
        description=(
            "Download every row of a table into a folder. Run it again to download only what is"
            " missing or failed, also after a change of the table. The exit status is 1 if rows"
            " failed."
        ),
    )
    get.add_argument("folder", metavar="FOLDER", help="it is created if it does not exist")
    get.add_argument(
        "--input",
        metavar="LIST",
        required=True,
        help="a .csv, .jsonl or .parquet file with a column of URLs, a .txt file with a URL a line"
        " (aria2's form, too), or - for such a list on standard input",
    )
    add_batch_options(get)


def get_batch(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> tuple[str, int]:
    """Download the rows; return the line for standard output and the exit status."""
    from vidnb.widgets.batch import download_many
    from vidnb.widgets.progress.batch_rendering import counts, failure_report

    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", arguments.folder):
        parser.error(f"{arguments.folder!r} is a URL; with --input comes the folder to save into")
    # A text stream is read as a list of URLs; there is none where the descriptor was closed.
    table: Any = (sys.stdin or io.StringIO()) if arguments.input == "-" else arguments.input
    batch = download_many(
        table,
        arguments.folder,
        progress=False if arguments.quiet else None,
        **read_batch_options(parser, arguments),
    )
    try:
        batch.result()
    except KeyboardInterrupt as interrupt:
        batch.cancel()
        progress = batch.progress
        left = "" if progress.total is None else f" of {progress.total:,}"
        sentence = (
            f"Interrupted; rows complete in {arguments.folder}:"
            f" {progress.done + progress.skipped:,}{left};"
            " run the same command again to download the others."
        )
        interrupt.__notes__ = [sentence]
        raise
    progress = batch.progress
    if progress.failed or not arguments.quiet:
        write_error_line(f"vidnb: {'; '.join(counts(progress, is_live=False))}")
    for line in failure_report(batch.failed()):
        write_error_line(line)
    if progress.failed:
        write_error_line("vidnb: run the same command again to try the failed rows again.")
    return f"{arguments.folder}\n", 1 if progress.failed else 0
