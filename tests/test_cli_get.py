"""`vidnb get`: its options, mistyped words, retries, and standard output of every kind."""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from tests.network import free_port
from tests.origin import Exchange, Film, Handler, Origin, cut, noise, plain, status, visible_names
from vidnb import cli
from vidnb.cli_options import parse_size
from vidnb.download.options import option_types
from vidnb.download.planner.retry import RetryPolicy
from vidnb.widgets import api

ROOT = Path(__file__).parent.parent
DATA = noise(400_000)
FILM = Film(DATA)


def start(
    *words: str | bytes, cwd: Path, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "vidnb", *words],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": f"{cwd}/.cache",
            **environment,
        },
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def run(*words: str, cwd: Path, **options: Any) -> tuple[int, bytes, str]:
    """Run a command; return its exit status, standard output and standard error."""
    with start(*words, cwd=cwd, **options) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out or b"", err.decode()


# Words


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["srve", "."], "'srve' is neither a command nor a URL; did you mean 'serve'?"),
        (["gte", "https://h/a"], "did you mean 'get'?"),
        (["GET", "https://h/a"], "did you mean 'get'?"),
        (["dem"], "did you mean 'demo'?"),
        (["upload"], "'upload' is neither a command nor a URL; there are get, serve, probe,"),
        (["films"], "'films' is a file or a folder, not a URL; to show it: vidnb serve films"),
        (["a.mp4"], "to show it: vidnb serve a.mp4"),
        (["get", "https://h/a", "--cheksum=sha256:0"], "did you mean --checksum?"),
        (["get", "https://h/a", "--max-byte", "5"], "names no"),
        (["get", "https://h/a", "--conections=5"], "did you mean --connections?"),
        (["serve", ".", "--prot=8000"], "did you mean --port?"),
        (["get", "https://h/a", "--xyzzy"], "unrecognized arguments: --xyzzy"),
        (["get", "https://h/a", "b", "c"], "unrecognized arguments: c"),
        (["get", "https://h/a", "https://h/b"], "one URL is downloaded at a time"),
        (["https://h/a", "http://h/b"], "one URL is downloaded at a time"),
        (["get", "https://h/a", " 'ftp://h/b'"], "one URL is downloaded at a time"),
        (["get", "https://h/a", "https:/h/b"], "one URL is downloaded at a time"),
        (["get", "https://h/a", "b", "https://h/c"], "one URL is downloaded at a time"),
        (["get", "https://h/a", "--max-bytes=much"], "is not a size such as 500M or 2GiB"),
        (["get", "https://h/a", "--if-exists=never"], "invalid choice"),
        (["get", "https://h/a", "--header=Accept"], "a header is written 'NAME: VALUE'"),
        (["get", "https://h/a", "--retries=-1"], "'-1' is not a number of retries"),
        (["get", "https://h/a", "--retries=\u0665"], "is not a number of retries"),
        (["get", "https://h/a", "-", "--if-exists=error"], "has no meaning for standard output"),
    ],
)
def test_a_mistyped_word_is_wrong_usage_with_a_hint(
    words: list[str],
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is requested, and nothing appears in the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(api, "download", lambda *_, **__: pytest.fail("it was started"))
    if hint == "names no":  # argparse accepts the beginning of an option
        monkeypatch.setattr(api, "download", refuse(hint))
        assert cli.main(words) == 1
        assert hint in capsys.readouterr().err
        return
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    assert hint in capsys.readouterr().err
    assert visible_names(tmp_path) == {"films", "a.mp4"}


def refuse(sentence: str) -> Callable[..., None]:
    def download(*_: object, **__: object) -> None:
        raise ValueError(sentence)

    return download


@pytest.mark.parametrize("word", ["film.mp4", "localhost:80/a", "h/a", "h.org", "a\\b"])
def test_a_word_like_a_file_or_a_url_is_no_mistyped_command(
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([word]) == 1
    assert capsys.readouterr().err.startswith("vidnb: The URL ")


@pytest.mark.parametrize("around", [" {}\n", "\xa0{}\u200b", "<{}>", '"{}"'])
def test_a_url_is_found_in_what_was_pasted(around: str, tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        pasted = around.format(origin.url)
        assert run(pasted, cwd=tmp_path)[:2] == (0, f"{tmp_path}/film.mp4\n".encode())
        result = vidnb.download(pasted, tmp_path / "again.mp4", progress=False)
        assert result.url == origin.url
        with vidnb.open(pasted) as file:
            assert file.read() == DATA


# Options


@pytest.mark.parametrize(
    "words",
    [
        ("URL", "--retries", "2", "FILE"),
        ("--retries", "2", "URL", "FILE"),
        ("URL", "FILE", "--retries", "2"),
        ("URL", "--quiet", "FILE", "--no-check-video"),
    ],
)
def test_options_may_stand_anywhere(words: tuple[str, ...], tmp_path: Path) -> None:
    file = str(tmp_path / "film.mp4")
    with Origin(FILM) as origin:
        given = [{"URL": origin.url, "FILE": file}.get(word, word) for word in words]
        status, out, err = run("get", *given, cwd=tmp_path)
    assert (status, out.decode().strip()) == (0, file), err
    assert Path(file).read_bytes() == DATA
    assert run("get", "http://127.0.0.1:9/", "--quiet", "a", "b", cwd=tmp_path)[0] == 2


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Record the options of each download, which is not done."""
    options: list[dict[str, Any]] = []

    def download(_url: str, _path: str | None, **given: Any) -> Any:
        options.append(given)
        return argparse.Namespace(path=tmp_path)

    monkeypatch.setattr(api, "download", download)
    return options


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--checksum", "sha256:0"], {"checksum": "sha256:0"}),
        (["--max-bytes=500M"], {"max_bytes": 500_000_000}),
        (["--connections", "3"], {"connections": 3}),
        (["--if-exists=error"], {"if_exists": "error"}),
        (["--retries=0"], {"retry": RetryPolicy(attempts=1)}),
        (["--retries", "20"], {"retry": RetryPolicy(attempts=21)}),
        (["--header", "A: b"], {"headers": {"A": "b"}}),
        (["--header=A:b:c", "--header", "D : "], {"headers": {"A": "b:c", "D": ""}}),
        (["--cookies", "a.txt", "--cookies=b.txt"], {"cookies": "b.txt"}),
        (["--proxy=http://h:3128"], {"proxy": "http://h:3128"}),
        (["--public-only"], {"public_only": True}),
        (["--no-check-video"], {"check_video": False}),
        (["--idle-timeout=2.5"], {"idle_timeout_s": 2.5}),
        (["--quiet"], {"progress": False}),
        (["-q"], {"progress": False}),
    ],
)
def test_the_options_are_those_of_the_python_call(
    words: list[str], options: Mapping[str, object], called: list[dict[str, Any]]
) -> None:
    assert cli.main(["get", "https://h/a", *words]) == 0
    assert called == [{"progress": True, **options}]


def test_every_option_of_a_plain_type_has_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """One that is added later has a flag without a line in `cli`, or a line there."""
    with pytest.raises(SystemExit):
        cli.main(["get", "--help"])
    text = capsys.readouterr().out
    for name, (hint, default, _) in option_types().items():
        kinds = {kind for kind in get_args(hint) if kind is not type(None)} or {hint}
        if kinds <= {bool, int, float, str}:
            stem = name.removesuffix("_s").replace("_", "-")
            assert (f"--no-{stem}" if default is True else f"--{stem}") in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1000", 1000),
        ("500M", 500 * 10**6),
        ("500mb", 500 * 10**6),
        ("1.5 GB", 15 * 10**8),
        ("2GiB", 2 * 2**30),
        ("1ki", 1024),
        ("7T", 7 * 10**12),
        ("12 B", 12),
        *(
            (text, None)
            for text in ["", "M", "-1", "1e9", "0x10", "5 M M", "5iB", "\u0665", "1.M", "1P"]
        ),
    ],
)
def test_a_size_has_a_unit(text: str, size_bytes: int | None) -> None:
    if size_bytes is None:
        with pytest.raises(argparse.ArgumentTypeError):
            parse_size(text)
    else:
        assert parse_size(text) == size_bytes


# Retries


def test_each_retry_is_one_line_also_in_a_pipe(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/film.mp4"
    returncode, out, err = run("get", url, "--retries=2", cwd=tmp_path)
    assert (returncode, out) == (1, b"")
    *retries, end = err.splitlines()
    assert len(retries) == 2
    for line in retries:
        assert re.fullmatch(r"film\.mp4: .*refused.*; trying again in [0-9.]+ s", line)
    assert end.startswith(f"vidnb: {url} could not be downloaded")
    assert run("get", url, "--retries=1", "--quiet", cwd=tmp_path)[2].count("\n") == 1


@pytest.mark.parametrize("handler", [cut(100_000), status(503)])
def test_a_retry_of_any_kind_is_a_line_and_the_result_follows(
    handler: Handler, tmp_path: Path
) -> None:
    with Origin(FILM, script=[handler]) as origin:
        returncode, out, err = run(origin.url, cwd=tmp_path)
    assert (returncode, out) == (0, f"{tmp_path}/film.mp4\n".encode())
    assert re.fullmatch(r"film\.mp4: .+; trying again in [0-9.]+ s\n", err)


# Standard output


def closed(argument: str) -> list[str]:
    """Return a shell command that runs its arguments with a redirection."""
    return ["sh", "-c", f'exec "$0" "$@" {argument}']


BROKEN = [
    pytest.param(">&-", 1, "bad file descriptor|it is closed", id="closed"),
    pytest.param(">/dev/full", 1, "no space left on device", id="full"),
    pytest.param("| true", 141, "", id="gone"),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(("redirection", "exit_status", "reason"), BROKEN)
@pytest.mark.parametrize("path", [[], ["-"]])
def test_output_that_cannot_be_written_is_a_sentence_and_an_exit_status(
    redirection: str, exit_status: int, reason: str, path: list[str], tmp_path: Path
) -> None:
    """Utilities of POSIX fail if their output is lost; the file is complete nevertheless."""
    with Origin(FILM) as origin:
        command = f'"$0" -W error -m vidnb get "$@" {redirection}'
        if redirection.startswith("|"):
            command = f'("$0" -W error -m vidnb get "$@"; echo $? >status) {redirection}'
        ran = subprocess.run(
            ["sh", "-c", command, sys.executable, origin.url, *path],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    found = tmp_path / "status"
    returncode = int(found.read_text()) if found.exists() else ran.returncode
    if redirection.startswith("|") and not path and not returncode:
        pytest.skip("the reader was still there")
    assert returncode == exit_status
    if reason:
        assert re.fullmatch(
            rf"vidnb: standard output could not be written: ({reason})[^\n]*\.\n", ran.stderr
        )
    else:
        assert ran.stderr == ""
    if not path:
        assert (tmp_path / "film.mp4").read_bytes() == DATA


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["get", "--help"], []])
def test_help_that_cannot_be_written_is_no_traceback(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        returncode, _, err = run(*words, cwd=tmp_path, stdout=full)
    assert returncode == (1 if words else 2)
    assert err == "vidnb: standard output could not be written: no space left on device.\n"


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},  # which has é only
    ],
)
def test_a_path_is_written_as_its_bytes_in_any_locale(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with Origin(FILM) as origin:
        folder = tmp_path / "映画 é"
        folder.mkdir()
        returncode, out, err = run("get", origin.url, "a.mp4", cwd=folder, **environment)
        assert (returncode, err) == (0, "")
        assert Path(os.fsdecode(out.removesuffix(b"\n"))) == folder / "a.mp4"
        assert (folder / "a.mp4").read_bytes() == DATA


def test_a_closed_standard_error_hides_the_messages_only(tmp_path: Path) -> None:
    with Origin(FILM, script=[status(503)]) as origin:
        ran = subprocess.run(
            [*closed("2>&-"), sys.executable, "-m", "vidnb", "get", origin.url],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=False,
        )
        missing = subprocess.run(
            [*closed("2>&-"), sys.executable, "-m", "vidnb", "get", "ftp://h/a"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=False,
        )
    assert (ran.returncode, ran.stdout) == (0, f"{tmp_path}/film.mp4\n".encode())
    assert (missing.returncode, missing.stdout) == (1, b"")


# The file on standard output


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1"])
def test_the_file_goes_to_standard_output(path: str, tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        assert run("get", origin.url, path, cwd=tmp_path) == (0, DATA, "")
    assert visible_names(tmp_path) == {".cache"}


def test_a_second_run_streams_from_the_cache(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        for _ in range(2):
            assert run("get", origin.url, "-", cwd=tmp_path) == (0, DATA, "")
        assert origin.sent_bytes < 1.5 * len(DATA)


def test_bytes_are_passed_on_while_they_arrive(tmp_path: Path) -> None:
    """The origin sends the second half when the first has been read."""
    half = len(DATA) // 2
    with (
        Origin(FILM, otherwise=hold_after(half, tmp_path / "go")) as origin,
        start("get", origin.url, "-", "--connections=1", cwd=tmp_path) as process,
    ):
        assert process.stdout is not None
        first = process.stdout.read(half - 100_000)
        (tmp_path / "go").touch()
        rest = process.stdout.read()
        assert process.wait(DEADLINE_S) == 0
    assert first + rest == DATA


def hold_after(size_bytes: int, go: Path) -> Handler:
    def handle(exchange: Exchange) -> None:
        exchange.head(200, exchange.response().headers)
        exchange.send(DATA[:size_bytes])
        while not go.exists():
            time.sleep(0.01)
        exchange.send(DATA[size_bytes:])

    return handle


@pytest.mark.parametrize("handler", [plain, cut(250_000)])
def test_without_ranges_or_a_whole_body_the_bytes_are_the_same(
    handler: Handler, tmp_path: Path
) -> None:
    with Origin(FILM, script=[handler]) as origin:
        returncode, out, _ = run("get", origin.url, "-", cwd=tmp_path)
    assert (returncode, out) == (0, DATA)


def test_a_wrong_digest_is_found_at_the_end(tmp_path: Path) -> None:
    right = hashlib.sha256(DATA).hexdigest()
    with Origin(FILM) as origin:
        wrong = run("get", origin.url, "-", f"--checksum=sha256:{'0' * 64}", cwd=tmp_path)
        assert run("get", origin.url, "-", f"--checksum=sha256:{right}", cwd=tmp_path)[0] == 0
    assert wrong[0] == 1
    assert DATA.startswith(wrong[1])
    assert "sha256" in wrong[2]
    assert wrong[2].count("\n") == 1


def test_a_page_in_place_of_the_file_is_not_passed_on(tmp_path: Path) -> None:
    page = Film(b"<!doctype html><title>Sign in</title>" + b" " * 50_000, media_type="text/html")
    with Origin(page) as origin:
        returncode, out, err = run("get", origin.url, "-", cwd=tmp_path)
    assert (returncode, out) == (1, b"")
    assert "Sign in" in err


def test_a_source_that_changes_after_bytes_were_passed_on_is_an_error(tmp_path: Path) -> None:
    other = Film(noise(400_000, seed=2), etag='"v2"')
    with (
        Origin(FILM, script=[cut(300_000)]) as origin,
        start("get", origin.url, "-", "--connections=1", cwd=tmp_path) as process,
    ):
        assert process.stdout is not None
        first = process.stdout.read(100_000)
        origin.film = other
        out = process.stdout.read()
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(DEADLINE_S) == 1
    assert DATA.startswith(first + out)
    assert b"became another file after" in err


def test_a_reader_that_leaves_ends_the_download(tmp_path: Path) -> None:
    film = replace(FILM, data=noise(30_000_000))
    with Origin(film) as origin, start("get", origin.url, "-", cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.skipif(os.name != "posix", reason="there are no pseudo terminals")
def test_a_video_is_not_written_to_a_terminal(tmp_path: Path) -> None:
    main, terminal = os.openpty()
    with os.fdopen(main, "rb"), os.fdopen(terminal, "wb") as screen, Origin(FILM) as origin:
        returncode, _, err = run("get", origin.url, "-", cwd=tmp_path, stdout=screen)
        assert origin.requests == []
    assert returncode == 1
    assert err == (
        "vidnb: A video is not written to a terminal; redirect standard output, or name a file.\n"
    )


def test_a_file_of_that_name_is_still_possible(tmp_path: Path) -> None:
    with Origin(FILM) as origin:
        assert run("get", origin.url, "./-", cwd=tmp_path)[0] == 0
    assert (tmp_path / "-").read_bytes() == DATA
