"""The command line: `vidnb get URL [PATH]`, `vidnb serve FILE_OR_FOLDER`, `vidnb demo`.

`python -m vidnb` is the same, and a URL alone means `get`. The path or address of the result goes
to standard output, everything else to standard error. The exit status is 0 for success, 1 for a
failure, 2 for wrong usage and 130 for an interrupt.
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
from pathlib import Path

from vidnb import __version__
from vidnb.errors import MissingExtra, VidnbError

__all__ = ["main"]

_COMMANDS = ("get", "serve", "demo")
_DEMO_FOLDER = "vidnb-demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (POSIX: 128 + SIGINT for an interrupt)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] not in _COMMANDS and not argv[0].startswith("-"):
        argv.insert(0, "get")
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
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
    parser.add_argument("--version", action="version", version=f"vidnb {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    get = commands.add_parser(
        "get",
        help="download a video, complete and verified; run it again to resume",
        epilog="example: vidnb get https://example.org/film.mp4 videos/",
    )
    get.add_argument("url", metavar="URL")
    get.add_argument("path", metavar="PATH", nargs="?", help="a file, or a folder (default: here)")
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
    commands.add_parser(
        "demo",
        help="open the quickstart notebook in JupyterLab, which gets all further options",
        epilog="example: vidnb demo --no-browser",
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
    from vidnb.server.server import serve, start_server

    host, allowed = arguments.host, arguments.allow_host
    parse_allowed_hosts(host, allowed)  # before anything listens
    start_server(arguments.port, host)
    is_folder = os.path.isdir(arguments.path)  # noqa: PTH112 - False for a name with a NUL, too
    register = serve_folder if is_folder else serve
    with register(arguments.path, host=host, allowed_hosts=allowed) as served:
        print(served.page_url, flush=True)
        if not is_loopback(host):
            print(
                f"Anyone who can reach {host} and has this address can watch;"
                " nothing is encrypted.",
                file=sys.stderr,
            )
        with ExitStack() as stack:
            if arguments.open and webbrowser.open(
                stack.enter_context(_redirect_file(served.page_url))
            ):
                print("Press Ctrl-C to stop.", file=sys.stderr)
            else:
                print("Open this address in a browser; press Ctrl-C to stop.", file=sys.stderr)
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
    print(f"The notebooks are in {Path.cwd()}; press Ctrl-C to stop JupyterLab.", file=sys.stderr)
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
