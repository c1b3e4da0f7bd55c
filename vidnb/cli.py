"""The command line: `vidnb get URL [PATH]`, `vidnb serve FILE_OR_FOLDER`, `vidnb demo`.

`python -m vidnb` is the same, and a URL alone is a `get`. What was made is printed on standard
output, everything else on standard error. The exit status is 0 when it worked, 1 when it did not,
2 for a call that makes no sense and 130 for an interrupt.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from html import escape
from importlib.metadata import version
from pathlib import Path

from vidnb.errors import MissingExtra, VidnbError

__all__ = ["main"]

_COMMANDS = ("get", "serve", "demo")
_DEMO_FOLDER = "vidnb-demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (POSIX: 128 + SIGINT for an interrupt)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] not in _COMMANDS and not words[0].startswith("-"):
        words.insert(0, "get")
    parser = _parser()
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.command != "demo":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        match arguments.command:
            case "get":
                return _get(arguments.url, arguments.path)
            case "serve":
                return _serve(arguments)
            case "demo":
                return _demo(rest)
    except (VidnbError, ValueError) as error:
        print(f"vidnb: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        notes = getattr(interrupt, "__notes__", None) or ["Interrupted."]
        print(f"\nvidnb: {notes[0]}", file=sys.stderr)
        return 130
    parser.print_help()
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("vidnb", description="Video in notebooks.")
    parser.add_argument("--version", action="version", version=f"vidnb {version('vidnb')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    get = commands.add_parser(
        "get", help="download a video, whole and checked; run again to resume"
    )
    get.add_argument("url", metavar="URL")
    get.add_argument("path", metavar="PATH", nargs="?", help="a file, or a folder (default: here)")
    serve = commands.add_parser(
        "serve", help="show a video, or a folder of videos, in a browser tab"
    )
    serve.add_argument("path", metavar="FILE_OR_FOLDER")
    serve.add_argument("--port", type=_port, default=0, help="default: any that is free")
    serve.add_argument("--open", action="store_true", help="open the address in a browser")
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: 127.0.0.1, for this machine alone)",
    )
    serve.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a further name under which browsers may ask, such as a reverse proxy's; repeatable",
    )
    commands.add_parser(
        "demo", help="open the quickstart notebook in JupyterLab, which gets all further options"
    )
    return parser


def _get(url: str, path: str | None) -> int:
    from vidnb.widgets.api import download

    result = download(url, path)
    print(result.path)
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from vidnb.http.allowed_hosts import is_loopback, parse_allowed_hosts
    from vidnb.server.folder import serve_folder
    from vidnb.server.server import start_server
    from vidnb.server.serving import serve

    host, allowed = arguments.host, arguments.allow_host
    parse_allowed_hosts(host, allowed)  # before anything listens
    start_server(arguments.port, host)
    is_folder = os.path.isdir(arguments.path)  # noqa: PTH112 - also of a name that no path can have
    make = serve_folder if is_folder else serve
    with make(arguments.path, host=host, allowed_hosts=allowed) as served:
        print(served.page_url, flush=True)
        if not is_loopback(host):
            print(
                f"Whoever reaches {host} and has this address can watch, and nothing is encrypted.",
                file=sys.stderr,
            )
        with ExitStack() as stack:
            if arguments.open and webbrowser.open(stack.enter_context(_doorway(served.page_url))):
                print("Ctrl-C ends it.", file=sys.stderr)
            else:
                print("Open this address in a browser; Ctrl-C ends it.", file=sys.stderr)
            _wait()
    return 0


def _wait() -> None:
    threading.Event().wait()


@contextmanager
def _doorway(url: str) -> Iterator[str]:
    """Yield the address of a private file that leads to `url`.

    A browser is a program like others: what it is called with can be read by everybody on the
    machine, and `url` is a secret.
    """
    with tempfile.TemporaryDirectory(prefix="vidnb-") as folder:  # which this user alone may enter
        file = Path(folder) / "open.html"
        leads = f'<meta http-equiv="refresh" content="0; url={escape(url)}">'
        file.write_text(f'<!doctype html><meta charset="utf-8">{leads}<title>vidnb</title>\n')
        yield file.as_uri()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, which is a number up to 65535")
    return int(text)


def _demo(rest: Sequence[str]) -> int:
    """Copy the notebooks to a folder of the person's own and open the first one."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtra(
            "The demo needs JupyterLab, which is not installed; run: pip install 'vidnb[lab]'.",
            extra="lab",
        )
    folder = Path(_DEMO_FOLDER)
    folder.mkdir(exist_ok=True)
    for file in _notebooks().iterdir():
        # What the person has changed since the last time stays.
        if file.suffix in {".ipynb", ".py"} and not (folder / file.name).exists():
            shutil.copy(file, folder)
    print(f"The notebooks are in {folder.absolute()}; Ctrl-C ends JupyterLab.", file=sys.stderr)
    command = [sys.executable, "-m", "jupyterlab", "quickstart.ipynb", *rest]
    if os.name == "posix" and os.geteuid() == 0:
        # In a container root is who one is, and JupyterLab listens on loopback alone.
        command.append("--allow-root")
    os.chdir(folder)
    return _hand_over(command)


def _hand_over(command: list[str]) -> int:
    """Let a command take this process over, so that Ctrl-C is its own business."""
    if os.name == "posix":
        os.execv(command[0], command)  # noqa: S606 - our own words
    return subprocess.run(command, check=False).returncode  # noqa: S603 - likewise


def _notebooks() -> Path:
    """Return where the example notebooks lie: in an installed wheel, or beside the package."""
    package = Path(__file__).parent
    for folder in (package / "_notebooks", package.parent / "notebooks"):
        if (folder / "quickstart.ipynb").is_file():
            return folder
    raise VidnbError(
        f"The example notebooks are missing from this installation ({package});"
        " install vidnb again, or take them from its repository."
    )
