"""The command line: `get URL [PATH]`, `serve FILE_OR_FOLDER`, `demo`; `cli_media`, `cli_batch`.

`python -m vidnb` is the same, and a URL alone means `get`. The path or address of the result, or
the bytes of `get URL -`, go to standard output, everything else to standard error. The exit status
is 0 for success, 1 for a failure, also to write to standard output, 2 for wrong usage, 130 for an
interrupt and 141 for a reader of standard output that has gone (POSIX: 128 + the signal).
"""

import argparse
import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from html import escape
from pathlib import Path
from typing import Any

from vidnb import __version__
from vidnb.cli_batch import add_batch_command, get_batch, has_input
from vidnb.cli_media import MEDIA_COMMANDS, add_media_commands
from vidnb.cli_options import add_download_options, read_download_options
from vidnb.errors import MissingExtra, VidnbError
from vidnb.io.standard_streams import is_terminal, write_error_line, write_output

__all__ = ["main"]

_COMMANDS = ("get", "serve", *MEDIA_COMMANDS, "demo")
_DEMO_FOLDER = "vidnb-demo"
_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_BROKEN_PIPE = 128 + 13  # SIGPIPE
_ONE_URL = "one URL is downloaded at a time; run vidnb get once for each"
_WORD = re.compile(r"[A-Za-z-]+")  # neither a URL nor a file name has only these
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
    except SystemExit:  # argparse, which may have printed its help
        if _write("") is not None:
            raise SystemExit(1) from None
        raise
    unwritten = _write("")
    return status if unwritten is None else status or unwritten


def _run(argv: list[str]) -> int:
    parser, commands = _parser(argv[0] if argv else "", has_input=has_input(argv))
    if argv and argv[0] not in _COMMANDS and not argv[0].startswith("-"):
        _refuse_other_word(parser, argv[0])
        argv.insert(0, "get")
        parser, commands = _parser("get")
    arguments, rest = parser.parse_known_args(argv)
    # argparse takes an optional argument only directly after the one before it.
    if rest and not rest[0].startswith("-") and vars(arguments).get("path", "") is None:
        arguments.path = rest.pop(0)
    if rest and arguments.command != "demo":
        _refuse_rest(commands[arguments.command], rest)
    if arguments.command is None:
        parser.print_help()
        return 2
    try:
        return _run_command(commands[arguments.command], arguments, rest)
    except (VidnbError, ValueError) as error:
        write_error_line(f"vidnb: {error}")
        return 1
    except KeyboardInterrupt as interrupt:
        notes = getattr(interrupt, "__notes__", None) or ["Interrupted."]
        write_error_line(f"\nvidnb: {notes[0]}")
        return 130


def _run_command(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, rest: Sequence[str]
) -> int:
    match arguments.command:
        case "get" if "input" in arguments:
            text, status = get_batch(parser, arguments)
            return _write(text) or status
        case "get":
            return _get(parser, arguments)
        case "serve":
            return _serve(arguments)
        case "demo":
            return _demo(rest)
    return _write(*MEDIA_COMMANDS[arguments.command](arguments)) or 0


def _write(text: str | bytes, consequence: str = "") -> int | None:
    """Write to standard output; return None, or the exit status where that failed.

    Like the utilities of POSIX, a command fails whose output is lost. Where the reader has gone
    (`| head`), it ends with the status of the signal that ends others, without a message.
    """
    try:
        write_output(text)
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError as error:
        if not text and error.errno == errno.EBADF:
            return None  # closed, and nothing was to be written
        reason = (error.strerror or str(error)).lower()
        write_error_line(f"vidnb: standard output could not be written: {reason}{consequence}.")
        return 1
    return None


def _refuse_other_word(parser: argparse.ArgumentParser, word: str) -> None:
    """Exit with wrong usage where a first word is neither a command nor meant as a URL."""
    if Path(word).exists():
        parser.error(f"{word!r} is a file or a folder, not a URL; to show it: vidnb serve {word}")
    if _WORD.fullmatch(word):
        found = get_close_matches(word.lower(), _COMMANDS, 1)
        hint = f"did you mean {found[0]!r}?" if found else f"there are {', '.join(_COMMANDS)}"
        parser.error(f"{word!r} is neither a command nor a URL; {hint}")


def _refuse_rest(parser: argparse.ArgumentParser, rest: Sequence[str]) -> None:
    """Exit with wrong usage for what a command does not take."""
    options = re.findall(r"(?<![\w-])--[a-z][a-z-]*", parser.format_help())
    for word in rest:
        if _is_address(word):
            parser.error(_ONE_URL)
        name = word.partition("=")[0]
        found = get_close_matches(name, options, 1) if name[:1] == "-" else []
        if found:
            parser.error(f"there is no option {name}; did you mean {found[0]}?")
    parser.error(f"unrecognized arguments: {' '.join(rest)}")


def _is_address(word: str) -> bool:
    return _SCHEME.match(word.strip("\"'<> \t\r\n")) is not None


def _parser(
    command: str, *, has_input: bool = False
) -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return the parser of the command line and those of the commands, `command`'s in full."""
    parser = argparse.ArgumentParser("vidnb", description="Video in notebooks.")
    parser.add_argument("--version", action="version", version=f"vidnb {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    if command == "get" and has_input:
        add_batch_command(commands)
    else:
        _add_get(commands, with_options=command == "get")
    serve = commands.add_parser(
        "serve",
        help="show a video, or a folder of videos, in a browser tab",
        epilog="example: vidnb serve --open videos/",
    )
    serve.add_argument("path", metavar="FILE_OR_FOLDER")
    serve.add_argument("--port", type=_port, default=0, help="default: any free port")
    serve.add_argument("--open", action="store_true", help="open the address in a browser")
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: 127.0.0.1, this machine only)",
    )
    serve.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a further host name that requests may use, such as a reverse proxy's; repeatable",
    )
    add_media_commands(commands)
    commands.add_parser(
        "demo",
        help="open the quickstart notebook in JupyterLab, which gets all further options",
        epilog="example: vidnb demo --no-browser",
    )
    return parser, commands.choices


def _add_get(commands: Any, *, with_options: bool) -> None:
    get = commands.add_parser(
        "get",
        help="download a video, complete and verified; run it again to resume",
        epilog="example: vidnb get https://example.org/film.mp4 videos/",
    )
    get.add_argument("url", metavar="URL")
    get.add_argument(
        "path", metavar="PATH", nargs="?", help="a file, a folder (default: here), or - (see below)"
    )
    get.description = (
        "Download a video. With - as PATH its bytes go to standard output while they arrive;"
        " they are verified at the end, and only the exit status 0 means that all were right."
        " They are kept in the cache as well, so a second run resumes."
    )
    if with_options:
        get.add_argument_group("many files").add_argument(
            "--input",
            metavar="LIST",
            default=argparse.SUPPRESS,
            help="download the rows of a table into a folder: vidnb get --input LIST FOLDER; its"
            " options: vidnb get --input - --help",
        )
        add_download_options(get)


def _get(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from vidnb.widgets.api import download

    url, path = arguments.url, arguments.path
    if path is not None and _is_address(path):
        parser.error(_ONE_URL)
    options = read_download_options(parser, arguments)
    options["progress"] = not arguments.quiet
    if path in _STANDARD_OUTPUT:
        if "if_exists" in options:
            parser.error("--if-exists has no meaning for standard output")
        return _get_to_output(url, options)
    result = download(url, path, **options)
    return _write(f"{result.path}\n", f"; {result.path} is complete") or 0


class _UnwrittenError(Exception):
    """Standard output could not be written; `status` is the exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _get_to_output(url: str, options: dict[str, Any]) -> int:
    """Stream a file to standard output, from the download into the cache."""
    from vidnb.download.in_order import copy_in_order
    from vidnb.download.stream import Stream
    from vidnb.widgets.progress.display import choose_display
    from vidnb.widgets.progress.download_view import download_view

    if is_terminal(sys.stdout):
        raise ValueError(
            "A video is not written to a terminal; redirect standard output, or name a file."
        )

    def write(data: bytes) -> None:
        status = _write(data)
        if status is not None:
            raise _UnwrittenError(status)

    stream = Stream(url, **options)
    try:
        display = choose_display(
            options["progress"], download_view(stream.handle, cancel=stream.close)
        )
        try:
            display.show()
            copy_in_order(stream, write, tick=display.update)
        except _UnwrittenError as unwritten:
            return unwritten.status
        finally:
            display.finish()
    finally:
        stream.close()
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from vidnb.http.allowed_hosts import is_loopback, parse_allowed_hosts
    from vidnb.server.folder import serve_folder
    from vidnb.server.server import serve, start_server

    host, allowed = arguments.host, arguments.allow_host
    parse_allowed_hosts(host, allowed)  # before anything listens
    start_server(arguments.port, host)
    is_folder = os.path.isdir(arguments.path)  # noqa: PTH112 - False for a name with a NUL, too
    register = serve_folder if is_folder else serve
    with register(arguments.path, host=host, allowed_hosts=allowed) as served:
        unwritten = _write(f"{served.page_url}\n")
        if unwritten is not None and not arguments.open:  # the address reached no one
            return unwritten
        if not is_loopback(host):
            write_error_line(
                f"Anyone who can reach {host} and has this address can watch; nothing is encrypted."
            )
        with ExitStack() as stack:
            if arguments.open and webbrowser.open(
                stack.enter_context(_redirect_file(served.page_url))
            ):
                write_error_line("Press Ctrl-C to stop.")
            else:
                write_error_line("Open this address in a browser; press Ctrl-C to stop.")
            _wait_for_interrupt()
    return 0


def _wait_for_interrupt() -> None:
    threading.Event().wait()


@contextmanager
def _redirect_file(url: str) -> Iterator[str]:
    """Yield the `file:` URL of a private page that redirects to `url`.

    Every user of the machine can read the arguments of a browser process, and `url` is a secret.
    """
    with tempfile.TemporaryDirectory(prefix="vidnb-") as folder:  # mode 0700
        file = Path(folder) / "open.html"
        redirect = f'<meta http-equiv="refresh" content="0; url={escape(url)}">'
        file.write_text(f'<!doctype html><meta charset="utf-8">{redirect}<title>vidnb</title>\n')
        yield file.as_uri()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 0 to 65535")
    return int(text)


def _demo(jupyterlab_options: Sequence[str]) -> int:
    """Copy the notebooks to a folder of the user's and open the first one in JupyterLab."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtra(
            "The demo needs JupyterLab, which is not installed; run: pip install 'vidnb[lab]'.",
            extra="lab",
        )
    source = _notebooks()
    try:
        _copy_notebooks(source, Path(_DEMO_FOLDER))
        os.chdir(_DEMO_FOLDER)
    except OSError as error:
        is_file = isinstance(error, FileExistsError)
        reason = "it is a file" if is_file else (error.strerror or str(error)).lower()
        raise VidnbError(
            f"The notebooks could not be copied to the folder {_DEMO_FOLDER}: {reason};"
            " run vidnb demo in another folder that you can write to."
        ) from error
    write_error_line(f"The notebooks are in {Path.cwd()}; press Ctrl-C to stop JupyterLab.")
    command = [sys.executable, "-m", "jupyterlab", "quickstart.ipynb", *jupyterlab_options]
    if os.name == "posix" and os.geteuid() == 0:
        # Usual in a container; JupyterLab listens on loopback only.
        command.append("--allow-root")
    return _replace_process(command)


def _copy_notebooks(source: Path, folder: Path) -> None:
    """Copy the notebooks that `folder` does not have yet, so that the user's changes stay.

    A copy gets its name when it is complete, and never the read-only mode of an installed file.
    """
    folder.mkdir(exist_ok=True)
    for file in source.iterdir():
        target = folder / file.name
        if file.suffix in {".ipynb", ".py"} and not target.exists():
            part = target.with_name(f"{file.name}.part")
            shutil.copyfile(file, part)
            part.replace(target)


def _replace_process(command: list[str]) -> int:
    """Run a command in place of this process, so that it handles Ctrl-C itself."""
    if os.name == "posix":
        os.execv(command[0], command)  # noqa: S606 - a fixed command and the user's own options
    return subprocess.run(command, check=False).returncode  # noqa: S603 - likewise


def _notebooks() -> Path:
    """Return the folder of the example notebooks: in an installed wheel, or in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "_notebooks", package.parent / "notebooks"):
        if (folder / "quickstart.ipynb").is_file():
            return folder
    raise VidnbError(
        f"The example notebooks are missing from this installation ({package});"
        " install vidnb again, or get them from its repository."
    )
