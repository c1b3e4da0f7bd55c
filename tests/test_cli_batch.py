"""`vidnb get --input LIST FOLDER`: options, report and interrupts."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import vidnb
from tests.deadline import DEADLINE_S, wait_until
from tests.origin import Exchange, Film, Origin, noise, plain, visible_names
from vidnb import cli
from vidnb.cli_batch import has_input
from vidnb.download.planner.batch_progress import BatchProgress
from vidnb.widgets.progress.batch_rendering import failure_report

ROOT = Path(__file__).parent.parent
GONE = "answered 404 Not Found; nothing was kept; check the address."
FAILED = [
    {"number": 2, "url": "https://u:p@h/3.mp4", "path": "", "error": f"https://h/3.mp4 {GONE}"},
    {"number": 8, "url": "https://h/9.mp4", "path": "v/9.mp4", "error": "v/9.mp4 cannot be saved."},
    {"number": 9, "url": "https://h/10.mp4", "path": "", "error": f"https://h/10.mp4 {GONE}"},
    {"number": 10, "url": "", "path": "", "error": "the row has no URL."},
]


class FakeBatch:
    """A batch that has ended, or that is interrupted while it is waited for."""

    def __init__(self, progress: BatchProgress, *, is_interrupted: bool = False) -> None:
        self.progress = progress
        self._is_interrupted = is_interrupted
        self.cancels = 0

    def result(self) -> None:
        if self._is_interrupted:
            raise KeyboardInterrupt

    def failed(self) -> list[dict[str, Any]]:
        return FAILED[: self.progress.failed]

    def cancel(self) -> None:
        self.cancels += 1


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace `download_many`: record its arguments, return `batch`."""
    seen = SimpleNamespace(batch=FakeBatch(BatchProgress(3, done=3, state="done")), args=[])

    def download_many(table: Any, folder: str, **options: Any) -> FakeBatch:
        table = table if isinstance(table, str) else list(table)
        seen.args.append((table, folder, options))
        batch: FakeBatch = seen.batch
        return batch

    module: Any = ModuleType("vidnb.widgets.batch")
    module.download_many = download_many
    monkeypatch.setitem(sys.modules, "vidnb.widgets.batch", module)
    return seen


# Words


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--url=link", "--name", "{id:05d}.mp4"], {"url": "link", "name": "{id:05d}.mp4"}),
        (["--checksum", "sha256"], {"checksum": "sha256"}),
        (["--concurrency=4", "--per-host=1"], {"concurrency": 4, "per_host": 1}),
        (["--attempts", "5", "--deadline", "60"], {"attempts": 5, "deadline_s": 60.0}),
        (["--status=a.csv", "--dedupe=link"], {"status": "a.csv", "dedupe": "link"}),
        (["--header", "A: b", "--max-bytes=5M"], {"headers": {"A": "b"}, "max_bytes": 5_000_000}),
        (["--no-check-video"], {"check_video": False}),
        (["--quiet"], {"progress": False}),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_the_options_are_those_of_the_python_call(
    words: list[str], options: dict[str, Any], is_first: bool, calls: SimpleNamespace
) -> None:
    given = ["--input", "list.csv", *words]
    assert cli.main(["get", *given, "clips"] if is_first else ["get", "clips", *given]) == 0
    assert calls.args == [("list.csv", "clips", {"progress": None, **options})]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--input", "a.csv"], "the following arguments are required: FOLDER"),
        (
            ["--input", "a.csv", "https://h/a"],
            "'https://h/a' is a URL; with --input comes the fold",
        ),
        (["--input=a.csv", "v", "--conurrency=3"], "did you mean --concurrency?"),
        (["--input=a.csv", "v", "--per-host=x"], "argument --per-host: invalid int value: 'x'"),
        (["--input=a.csv", "v", "--dedupe=copy"], "invalid choice"),
        (["--input=a.csv", "v", "w"], "unrecognized arguments: w"),
        (["https://h/a", "--per-host=3"], "unrecognized arguments: --per-host=3"),
        (["v", "--input"], "argument --input: expected one argument"),
    ],
)
def test_a_mistyped_word_is_wrong_usage_with_a_hint(
    words: list[str], hint: str, calls: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["get", *words])
    assert stop.value.code == 2
    assert hint in capsys.readouterr().err
    assert calls.args == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["get", "--input", "a"], True),
        (["get", "--input=a"], True),
        (["get", "--in", "a"], True),
        (["get", "--inputs"], False),
        (["get", "--idle-timeout=3"], False),
        (["get", "https://h/--input"], False),
        (["get", "--", "--input"], False),
        ([], False),
    ],
)
def test_the_form_with_a_list_is_recognised(words: list[str], expected: bool) -> None:
    assert has_input(words) is expected


@pytest.mark.parametrize("words", [["get", "--help"], ["get", "--input", "-", "--help"]])
def test_the_help_of_both_forms_names_the_list(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert "vidnb get --input LIST" in text
    assert "example: vidnb get" in text
    assert ("--per-host" in text) is ("--input" in words)
    assert text.isascii()


def test_every_keyword_of_the_python_call_has_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """A keyword that is added later needs a line in `cli_options`, or one here."""
    with pytest.raises(SystemExit):
        cli.main(["get", "--input", "-", "--help"])
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    objects = {"executor", "auth", "ssl_context", "session"}
    others = {"table": "--input", "headers": "--header", "progress": "--quiet"}
    others |= {"retry": "--attempts", "check_video": "--no-check-video"}
    for name in set(signature(vidnb.download_many).parameters) - objects - {"folder"}:
        stem = name.removesuffix("_s").replace("_", "-")
        assert others.get(name, f"--{stem}") in flags


def test_standard_input_is_read_as_a_list(
    calls: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "https://h/1\n  out=a.mp4\nhttps://h/2"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert cli.main(["get", "--input", "-", "clips"]) == 0
    monkeypatch.setattr(sys, "stdin", None)  # closed by the caller
    assert cli.main(["get", "--input=-", "clips"]) == 0
    assert [table for table, *_ in calls.args] == [lines.splitlines(keepends=True), []]


# The report


def test_failed_rows_are_grouped_by_sentence_and_named_without_secrets() -> None:
    assert failure_report(FAILED) == [
        f"2 rows: URL {GONE}",
        "  row 3: https://h/3.mp4",
        "  row 10: https://h/10.mp4",
        "1 row: FILE cannot be saved.",
        "  row 9: https://h/9.mp4",
        "1 row: the row has no URL.",
        "  row 11",
    ]
    many = [{"number": n, "url": f"https://h/{n}", "path": "", "error": "no."} for n in range(1100)]
    assert failure_report(many, 2) == [
        "1,100 rows: no.",
        "  row 1: https://h/0",
        "  row 2: https://h/1",
        "  and 1,098 more",
    ]
    assert failure_report([]) == []


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_failed_rows_are_reported_and_the_exit_status_is_1(
    quiet: list[str], calls: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.batch = FakeBatch(BatchProgress(9, done=6, failed=3, state="done"))
    assert cli.main(["get", "--input=a.csv", "clips", *quiet]) == 1
    out, err = capsys.readouterr()
    assert out == "clips\n"
    first, *rows, last = err.splitlines()
    assert first == "vidnb: 6 done; 3 failed; 0 B in 0:00"
    assert rows == failure_report(FAILED[:3])
    assert last == "vidnb: run the same command again to try the failed rows again."


@pytest.mark.parametrize(("quiet", "err"), [([], "vidnb: 3 done; 0 B in 0:00\n"), (["-q"], "")])
def test_a_complete_batch_is_one_line(
    quiet: list[str], err: str, calls: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["get", "--input=a.csv", "clips", *quiet]) == 0
    assert capsys.readouterr() == ("clips\n", err)


@pytest.mark.parametrize(
    ("progress", "rows"),
    [
        (BatchProgress(1000, done=20, skipped=3, failed=1), "23 of 1,000"),
        (BatchProgress(None, done=1), "1"),
    ],
)
def test_an_interrupt_says_how_to_resume(
    progress: BatchProgress,
    rows: str,
    calls: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls.batch = FakeBatch(progress, is_interrupted=True)
    assert cli.main(["get", "--input=a.csv", str(Path("clips"))]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == (
        f"vidnb: Interrupted; rows complete in clips: {rows}; run the same command again to"
        " download the others."
    )
    assert calls.batch.cancels == 1


# With an origin


def respond(exchange: Exchange) -> None:
    """Send a file; 404 for "gone", and nothing for "slow"."""
    if "gone" in exchange.request.target:
        exchange.head(404, [("Content-Length", "0")])
    elif "slow" in exchange.request.target:
        exchange.wait_for_close()
    else:
        plain(exchange)


@contextmanager
def command(tmp_path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `vidnb get` in a folder."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "vidnb", "get", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_list_is_downloaded_and_only_what_failed_is_requested_again(tmp_path: Path) -> None:
    with Origin(Film(noise(5_000)), otherwise=respond) as origin:
        lines = [f"{origin.base}/{name}.mp4" for name in ("a", "gone", "b")]
        text = "\n".join(["link,id", *(f"{line},{n}" for n, line in enumerate(lines))])
        (tmp_path / "list.csv").write_text(f"{text}\n")
        words = ["--input", "list.csv", "clips", "--url", "link", "--name", "{id}.mp4"]
        with command(tmp_path, *words, "--status=status.csv") as process:
            out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (1, "clips\n"), err
        assert err.splitlines()[0].startswith("vidnb: 2 done; 1 failed; 10.0 kB in ")
        assert err.splitlines()[1:3] == [f"1 row: URL {GONE}", f"  row 2: {lines[1]}"]
        assert visible_names(tmp_path / "clips") == {"0.mp4", "2.mp4"}
        assert (tmp_path / "status.csv").read_text().count("\n") == 4
        origin.otherwise = plain
        count = len(origin.requests)
        with command(tmp_path, *words) as process:
            out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (0, "clips\n"), err
        assert err.startswith("vidnb: 1 done; 2 already here; 5.0 kB in ")
        assert [request.target for request in origin.requests[count:]] == ["/gone.mp4"]


def test_standard_input_may_be_aria2s_list(tmp_path: Path) -> None:
    with Origin(Film(noise(5_000)), otherwise=respond) as origin:
        with command(tmp_path, "--input", "-", "clips") as process:
            text = f"{origin.base}/a.mp4\n  out=one.mp4\n\n{origin.base}/b.mp4\n"
            out, err = process.communicate(text, timeout=DEADLINE_S)
        assert (process.returncode, out) == (0, "clips\n"), err
    assert visible_names(tmp_path / "clips") == {"one.mp4", "b.mp4"}


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("list.csv", "link\nhttps://h/a\n", "no column 'url'"),
        ("missing.csv", None, "missing.csv"),
        ("list.xlsx", "", "list.xlsx"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_sentence(
    file: str, text: str | None, sentence: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / file).write_text(text)
    with command(tmp_path, "--input", file, "clips") as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("vidnb: ")
    assert sentence in err


def test_an_interrupt_keeps_what_is_complete(tmp_path: Path) -> None:
    with Origin(Film(noise(5_000)), otherwise=respond) as origin:
        lines = [f"{origin.base}/{name}.mp4" for name in ("a", "b", "slow")]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        with command(tmp_path, "--input=list.txt", "clips") as process:
            wait_until((tmp_path / "clips/b.mp4").exists)
            wait_until((tmp_path / "clips/a.mp4").exists)
            wait_until(lambda: len(origin.requests) == 3)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (130, ""), err
        # A row that was just being recorded counts only in the next run.
        assert re.fullmatch(
            r"vidnb: Interrupted; rows complete in clips: [12] of 3; run the same command again to"
            r" download the others\.",
            err.strip(),
        )
        origin.otherwise = plain
        with command(tmp_path, "--input=list.txt", "clips") as process:
            out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (0, "clips\n"), err
        assert visible_names(tmp_path / "clips") == {"a.mp4", "b.mp4", "slow.mp4"}
