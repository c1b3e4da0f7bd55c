"""The ledger under kills, damage, a second writer and a full disk; the status file."""

import csv
import json
import logging
import os
import pickle
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidnb.download import ledger as ledger_module
from vidnb.download.ledger import Ledger, RowResult, check_status_path, write_status
from vidnb.download.part_file import hash_file
from vidnb.download.planner.rows import MAX_HEADER_BYTES, Row
from vidnb.errors import MissingExtra, StorageError
from vidnb.io.locks import lock

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such locks here")


def url(number: int) -> str:
    return f"https://user:secret@h/{number}.mp4?token=secret"


def result(folder: Path, number: int, **columns: Any) -> RowResult:
    """Return the result of a row that is done, with its file."""
    path = folder / f"{number}.mp4"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"film %d" % number)
    status = path.stat()
    done = RowResult(
        number,
        url(number),
        "done",
        str(path),
        status.st_size,
        hash_file(path, "sha256"),
        modified_ns=status.st_mtime_ns,
        attempts=1,
    )
    return replace(done, **columns)


def failed(number: int, error: str = "e") -> RowResult:
    return RowResult(number, url(number), "failed", f"{number}.mp4", error=error)


def row(number: int, checksum: str | None = None) -> Row:
    return Row(number, url(number), f"{number}.mp4", checksum)


def ledger_file(folder: Path) -> Path:
    (path,) = (folder / ".vidnb").glob("batch-*.jsonl")
    return path


def loaded(folder: Path) -> dict[str, RowResult]:
    """Return what the ledger has, by the name of the file."""
    with Ledger(folder) as ledger:
        return {Path(each.path).name: each for each in ledger.load().values()}


def test_results_are_there_on_the_next_run(tmp_path: Path) -> None:
    results = [result(tmp_path, 0), failed(1), RowResult(2, "", "failed", error="no URL")]
    with Ledger(tmp_path) as ledger:
        assert len(ledger.load()) == 0
        ledger.append(results[:2])
        ledger.append(results[2:])
        before = dict(ledger.load())
    with Ledger(tmp_path) as ledger:
        assert dict(ledger.load()) == before
        assert before[ledger.key(url(0), "0.mp4")] == replace(results[0], url="https://h/0.mp4?…")
        assert before[ledger.key(url(1), "1.mp4")].path == str(tmp_path / "1.mp4")
        assert before[ledger.key("", "")].error == "no URL"
        assert ledger.key(url(5), "5.mp4") not in ledger
    data = ledger_file(tmp_path).read_bytes()
    assert b"secret" not in data
    assert data.count(b"\n") == 4


def test_the_ledger_is_for_its_owner_only(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    assert stat.S_IMODE(ledger_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".vidnb").stat().st_mode) == 0o700


def test_the_last_result_of_a_row_counts(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append([failed(0, "first"), failed(0, "second")])
        ledger.append([failed(0, "third")])
    assert loaded(tmp_path)["0.mp4"].error == "third"


def test_a_changed_table_and_a_moved_folder_repeat_no_row(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a") as ledger:
        ledger.append([result(tmp_path / "a", 0), result(tmp_path / "a", 1)])
    (tmp_path / "a").rename(tmp_path / "b")
    with Ledger(tmp_path / "b") as ledger:
        found = ledger.find_done(replace(row(1), number=0))
        assert found is not None
        assert (found.number, found.path) == (0, str(tmp_path / "b" / "1.mp4"))
        assert ledger.find_done(row(2)) is None


# A kill at any instant


def small_ledger(folder: Path) -> tuple[bytes, list[RowResult]]:
    results = [failed(0, "first"), failed(1), failed(0, "second")]
    with Ledger(folder) as ledger:
        ledger.append(results)
    return ledger_file(folder).read_bytes(), results


def test_a_ledger_cut_at_any_byte(tmp_path: Path) -> None:
    """Every complete line counts, and what is appended afterwards does, too."""
    data, results = small_ledger(tmp_path)
    path = ledger_file(tmp_path)
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        count = max(0, data[:size].count(b"\n") - 1)
        expected = {Path(each.path).name: each.error for each in results[:count]}
        with Ledger(tmp_path) as ledger:
            found = {Path(each.path).name: each.error for each in ledger.load().values()}
            assert found == expected
            ledger.append([failed(9, "after")])
        after = {name: each.error for name, each in loaded(tmp_path).items()}
        assert after == {**expected, "9.mp4": "after"}
    assert [entry.name for entry in (tmp_path / ".vidnb").iterdir()] == [path.name]


@pytest.mark.parametrize("damage", [b"\0", b"\n", b"}", b"\xff"])
def test_a_ledger_damaged_at_any_byte(damage: bytes, tmp_path: Path) -> None:
    """The damaged row is downloaded again, and no other row is lost."""
    data, _ = small_ledger(tmp_path)
    path = ledger_file(tmp_path)
    second = data.index(b"\n", MAX_HEADER_BYTES) + 1
    for at in range(second, data.index(b"\n", second)):
        path.write_bytes(data[:at] + damage + data[at + 1 :])
        found = loaded(tmp_path)
        assert found.pop("0.mp4").error == "second"
        assert len(found) <= 1


APPEND = """
import sys
from pathlib import Path
from vidnb.download.ledger import Ledger, RowResult
number = 0
while True:
    with Ledger(Path(sys.argv[1])) as ledger:
        ledger.load()
        for _ in range(50):
            ledger.append([RowResult(0, f"https://h/{number % 40}", "failed", f"{number % 40}",
                                     error=str(number))])
            print(number, flush=True)
            number += 1
"""


@posix
def test_a_kill_loses_no_result_that_was_appended(tmp_path: Path) -> None:
    """Appending and compacting, killed with SIGKILL."""
    for count in (1, 130, 777):
        folder = tmp_path / str(count)
        command = [sys.executable, "-c", APPEND, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
            assert child.stdout is not None
            appended = [int(next(child.stdout)) for _ in range(count)]
            child.send_signal(signal.SIGKILL)
            appended += map(int, child.stdout)
        last = {number % 40: number for number in appended}
        found = {int(name): int(each.error) for name, each in loaded(folder).items()}
        assert all(found[name] >= number for name, number in last.items())


# Compaction


def many(folder: Path, ledger: Ledger) -> None:
    for number in (0, 1, 0, 1):
        ledger.append([failed(number, "old"), result(folder, number)])


def test_a_ledger_with_twice_as_many_lines_as_rows_is_rewritten(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        many(tmp_path, ledger)
        before = dict(ledger)
        assert dict(ledger.load()) == before
        assert ledger_file(tmp_path).read_bytes().count(b"\n") == 3
        ledger.append([failed(2)])
        assert len(ledger.load()) == 3
        with pytest.raises(StorageError):
            Ledger(tmp_path)
    assert set(loaded(tmp_path)) == {"0.mp4", "1.mp4", "2.mp4"}
    assert ledger_file(tmp_path).read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("failing", ["replace", "write"])
def test_a_rewrite_that_fails_leaves_the_ledger(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise OSError(28, "No space left on device")

    with Ledger(tmp_path) as ledger:
        many(tmp_path, ledger)
        before = ledger_file(tmp_path).read_bytes()
        with monkeypatch.context() as patch:
            if failing == "replace":
                patch.setattr(Path, "replace", fail)
            else:
                patch.setattr(ledger_module, "dump_header", fail)
            with pytest.raises(StorageError, match=r"could not be rewritten: .*; it is unchanged"):
                ledger.load()
        assert ledger_file(tmp_path).read_bytes() == before
        assert len(list((tmp_path / ".vidnb").iterdir())) == 1
        ledger.append([failed(2)])
        assert len(ledger.load()) == 3


def test_what_a_killed_rewrite_leaves_is_removed_by_a_download(tmp_path: Path) -> None:
    from vidnb.download.stale_files import sweep

    Ledger(tmp_path).close()
    name = ledger_file(tmp_path).stem
    left = tmp_path / ".vidnb" / f"{name}.record.{'0' * 16}.new"
    left.touch()
    sweep(tmp_path / ".vidnb")
    assert not left.exists()
    assert ledger_file(tmp_path).exists()


# Other writers, other files


@posix
def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from vidnb.download.ledger import Ledger\n"
    script += "try: Ledger(Path(sys.argv[1]))\nexcept Exception as error: print(error)"
    sentence = (
        f"Another batch is downloading into {tmp_path}; nothing was downloaded by this one; wait"
        " for that one, cancel it, or name another folder."
    )
    with Ledger(tmp_path) as ledger:
        ledger.append([failed(0)])
        with pytest.raises(StorageError) as caught:
            Ledger(tmp_path)
        assert str(caught.value) == sentence
        assert str(pickle.loads(pickle.dumps(caught.value))) == sentence  # noqa: S301 - its own
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == sentence
        ledger.append([failed(1)])
    assert set(loaded(tmp_path)) == {"0.mp4", "1.mp4"}


def test_a_ledger_replaced_between_open_and_lock_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another process does that rewrites it: a line in the old file would be lost."""
    with Ledger(tmp_path) as ledger:
        ledger.append([failed(0)])
    path = ledger_file(tmp_path)

    def replace_first(descriptor: int) -> bool | None:
        monkeypatch.undo()
        path.with_suffix(".copy").write_bytes(path.read_bytes())
        path.with_suffix(".copy").replace(path)
        return lock(descriptor)

    monkeypatch.setattr(ledger_module, "lock", replace_first)
    with Ledger(tmp_path) as ledger:
        ledger.append([failed(1)])
    assert set(loaded(tmp_path)) == {"0.mp4", "1.mp4"}


FORK = """
import os, sys
from pathlib import Path
from vidnb.download.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
(reader, writer), (ready, is_ready) = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.write(is_ready, b"x")
    os.read(reader, 1)
    os._exit(0)
os.read(ready, 1)
ledger.close()
Ledger(Path(sys.argv[1])).close()
os.write(writer, b"x")
os.waitpid(child, 0)
"""


@posix
def test_a_forked_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], cwd=ROOT, check=True, timeout=120)


def test_a_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "lock", lambda _: None)
    with Ledger(tmp_path) as ledger:
        ledger.append([failed(0)])
    assert set(loaded(tmp_path)) == {"0.mp4"}


@pytest.mark.parametrize(
    "data",
    [
        b'{"vidnb":"batch","format":2,"salt":"' + b"0" * 32 + b'"}\n{"key":"x"}\n',
        b"url,id\nhttps://h/1,1\n",
        b"short",
        bytes(200),
    ],
)
def test_a_foreign_file_is_kept_under_another_name(
    data: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Ledger(tmp_path).close()
    path = ledger_file(tmp_path)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING), Ledger(tmp_path) as ledger:
        assert len(ledger.load()) == 0
        ledger.append([failed(0)])
    (aside,) = (tmp_path / ".vidnb").glob("*.old")
    assert aside.read_bytes() == data
    (message,) = caplog.messages
    assert message == (
        f"{path} is no ledger of this version of vidnb, so its rows are downloaded again; it was"
        f" kept as {aside.name}."
    )
    assert set(loaded(tmp_path)) == {"0.mp4"}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_ledger_that_cannot_be_opened(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / ".vidnb").touch()
    else:
        Ledger(tmp_path).close()
        path = ledger_file(tmp_path)
        path.unlink()
        path.mkdir()
    with pytest.raises(StorageError, match=r"could not be opened: .*; nothing was downloaded"):
        Ledger(tmp_path)


@posix
def test_a_write_that_fails_halfway_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, which takes some bytes before it refuses the next."""
    import resource

    with Ledger(tmp_path) as ledger:
        ledger.append([failed(0)])
        size_bytes = ledger_file(tmp_path).stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes + 50, limits[1]))
        try:
            with pytest.raises(StorageError, match=r"could not be written: .*files were kept"):
                ledger.append([failed(1)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert ledger_file(tmp_path).stat().st_size == size_bytes
        assert len(ledger.load()) == 1
        ledger.append([failed(2)])
    assert set(loaded(tmp_path)) == {"0.mp4", "2.mp4"}


# Which rows are done


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as ledger:
        yield ledger


def test_a_row_that_is_done_is_found(ledger: Ledger, tmp_path: Path) -> None:
    done = result(tmp_path, 0)
    ledger.append([done, replace(result(tmp_path, 1), state="duplicate")])
    assert ledger.find_done(row(0)) == done
    assert ledger.find_done(replace(row(0), number=7)) == replace(done, number=7)
    copy = ledger.find_done(row(1))
    assert copy is not None
    assert copy.state == "duplicate"


def test_a_row_that_is_not_done_is_not_found(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append([result(tmp_path, 0), failed(1), replace(result(tmp_path, 2), state="cancelled")])
    assert ledger.find_done(row(1)) is None
    assert ledger.find_done(row(2)) is None
    assert ledger.find_done(row(3)) is None
    assert ledger.find_done(replace(row(0), name=None)) is None
    assert ledger.find_done(replace(row(0), name="other.mp4")) is None
    assert ledger.find_done(replace(row(0), url="https://h/other")) is None


@pytest.mark.parametrize("change", ["removed", "longer", "touched", "folder"])
def test_a_file_that_changed_is_downloaded_again(
    change: str, ledger: Ledger, tmp_path: Path
) -> None:
    done = result(tmp_path, 0)
    ledger.append([done])
    path = Path(done.path)
    if change == "longer":
        path.write_bytes(path.read_bytes() + b"x")
        os.utime(path, ns=(done.modified_ns, done.modified_ns))
    elif change == "touched":
        os.utime(path, ns=(done.modified_ns + 1_000_000_000, done.modified_ns + 1_000_000_000))
    else:
        path.unlink()
        if change == "folder":
            path.mkdir()
    assert ledger.find_done(row(0)) is None


def test_a_checksum_that_changed_or_was_added(ledger: Ledger, tmp_path: Path) -> None:
    done = result(tmp_path, 0)
    md5 = f"md5:{hash_file(Path(done.path), 'md5')}"
    ledger.append([done])
    assert ledger.find_done(row(0, f"sha256:{done.sha256}")) == done
    assert ledger.find_done(row(0, "sha256:" + "0" * 64)) is None
    assert ledger.find_done(row(0, "md5:" + "0" * 32)) is None
    assert ledger.find_done(row(0, md5)) == replace(done, checksum=md5)
    assert ledger[ledger.key(url(0), "0.mp4")].checksum == md5


def test_a_checksum_is_compared_once(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = result(tmp_path, 0)
    md5 = f"md5:{hash_file(Path(done.path), 'md5')}"
    ledger.append([done])
    assert ledger.find_done(row(0, md5)) is not None
    monkeypatch.delattr(ledger_module, "hash_file")
    assert ledger.find_done(row(0, md5)) is not None


@pytest.mark.parametrize("is_same", [True, False])
def test_after_another_boot_the_digest_decides_once(
    is_same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the machine may lose the bytes of a file, and keep its size and time."""
    done = result(tmp_path, 0)
    with Ledger(tmp_path) as ledger:
        ledger.append([done])
    if not is_same:
        Path(done.path).write_bytes(bytes(done.size_bytes))
        os.utime(done.path, ns=(done.modified_ns, done.modified_ns))
    with monkeypatch.context() as patch:
        patch.setattr(ledger_module, "boot_id", lambda: "another boot")
        with Ledger(tmp_path) as ledger:
            assert (ledger.find_done(row(0)) is not None) == is_same
            patch.delattr(ledger_module, "hash_file")
            if is_same:
                assert ledger.find_done(row(0)) == done


# The status file


RESULTS = [
    RowResult(0, url(0), "done", "a/ü,\n.mp4", 9, "ab", "video/mp4", 2, host="h", elapsed_s=0.5),
    RowResult(1, "", "failed", error='The row, "has" no URL\ud800.', error_type="ValueError"),
]
SHOWN = ["https://h/0.mp4?…", ""]


def test_status_csv(tmp_path: Path) -> None:
    write_status(tmp_path / "s.csv", RESULTS)
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["url"], first["path"], first["size_bytes"]) == (SHOWN[0], "a/ü,\n.mp4", "9")
    assert second["error"] == 'The row, "has" no URL?.'
    assert list(first) == list(RESULTS[0].as_row())


def test_status_json_lines(tmp_path: Path) -> None:
    write_status(str(tmp_path / "s.jsonl"), iter(RESULTS))
    lines = (tmp_path / "s.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [each.as_row() for each in RESULTS]


def test_status_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(ledger_module, "_PARQUET_ROWS", 1)
    write_status(tmp_path / "new/s.PARQUET", RESULTS)
    table = pq.read_table(tmp_path / "new/s.PARQUET")
    assert table.column_names == list(RESULTS[0].as_row())
    assert table.to_pylist()[0] == RESULTS[0].as_row()
    assert table["error"][1].as_py() == 'The row, "has" no URL?.'
    write_status(tmp_path / "empty.parquet", [])
    assert pq.read_table(tmp_path / "empty.parquet").schema == table.schema


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_the_table_is_one_of_other_packages(package: str) -> None:
    frame = pytest.importorskip(package).DataFrame(
        [RESULTS[0].as_row(), RowResult(1, "", "failed").as_row()]
    )
    assert list(frame["state"]) == ["done", "failed"]
    assert list(frame["elapsed_s"]) == [0.5, 0.0]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_status_file_is_replaced_when_it_is_complete(suffix: str, tmp_path: Path) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"s{suffix}"
    path.write_bytes(b"old")

    def stop() -> Iterator[RowResult]:
        yield RESULTS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_status(path, stop())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write_status(path, RESULTS)
    assert path.read_bytes() != b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_status_file_with_an_unknown_suffix(tmp_path: Path) -> None:
    for name in ("s.xlsx", "status", "s.csv.gz"):
        with pytest.raises(ValueError, match=r"none of the suffixes \.csv, \.jsonl and \.parquet"):
            check_status_path(tmp_path / name)
        with pytest.raises(ValueError, match="suffixes"):
            write_status(tmp_path / name, [])


def test_a_status_file_in_parquet_without_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install pyarrow, or name a \.csv file"):
        check_status_path(tmp_path / "s.parquet")


def test_a_status_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "file/s.csv", "pipe.csv"):
        with pytest.raises(StorageError, match=r"could not be written: .*files were kept"):
            write_status(tmp_path / name, RESULTS)


def test_a_status_file_of_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_status("~/s.csv", RESULTS)
    assert (tmp_path / "s.csv").exists()
