"""The end of a program, and worker processes: a download ends with its file or with a sentence."""

import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S
from tests.origin import Film, Origin, honest, noise, spawn, stall, status, visible_names

DATA = noise(400_000)

THREADS = {
    "at once": "import vidnb",
    "import": "wait(); import vidnb",
    "first use": "import vidnb; wait()",
    "second use": "import vidnb; vidnb.download(url, 'first.mp4', progress=False); wait()",
}
"""What a thread does first; `wait` returns when the main thread has ended."""

CALLS = {
    "download": "vidnb.download(url, 'film.mp4', progress=False)",
    "start_download": "vidnb.start_download(url, 'film.mp4', progress=False).result()",
    "download_async": "asyncio.run(vidnb.download_async(url, 'film.mp4', progress=False))",
    "session": "asyncio.run(with_session())",
    "open": "pathlib.Path('film.mp4').write_bytes(vidnb.open(url).read())",
    "by name": "vidnb.download(url.replace('127.0.0.1', 'localhost'), 'film.mp4', progress=False)",
    "serve": "serve()",
}

SCRIPT = """
import asyncio, pathlib, sys, threading
def wait():
    threading.main_thread().join()
async def with_session():
    import aiohttp
    async with aiohttp.ClientSession() as session:
        await vidnb.download_async(url, 'film.mp4', session=session, progress=False)
def serve():
    vidnb.download(url, 'first.mp4', progress=False)
    with vidnb.serve('first.mp4') as served:
        vidnb.download(served.url, 'film.mp4', progress=False)
def work():
    global vidnb
    {before}
    {call}
url = sys.argv[1]
threading.Thread(target=work).start()
"""

FORBIDS_THREADS = (3, 12) <= sys.version_info < (3, 12, 3)
"""Python 3.12.0 to 3.12.2 start no thread once the main thread has ended (its issue 113964)."""


def run(code: str, *arguments: object, folder: Path) -> tuple[int, str, str]:
    """Run a program in `folder`; return its exit status, standard output and standard error."""
    environment = {"XDG_CACHE_HOME": str(folder / "cache")}
    code = f"import os; os.chdir({str(folder)!r})\n{code}"
    with spawn(code, *arguments, environment=environment) as child:
        out, err = child.communicate(timeout=DEADLINE_S)
    return child.returncode, out, err


@pytest.mark.skipif(FORBIDS_THREADS, reason="this Python starts no thread at its end")
@pytest.mark.parametrize(
    ("before", "call"),
    [*((before, "download") for before in THREADS), *(("first use", c) for c in CALLS)],
)
def test_a_thread_that_outlives_the_main_thread_downloads(
    before: str, call: str, tmp_path: Path
) -> None:
    """`Thread(target=lambda: vidnb.download(…)).start()` may be a script's last line."""
    with Origin(Film(DATA)) as origin:
        code = SCRIPT.format(before=THREADS[before], call=CALLS[call])
        assert run(code, origin.url, folder=tmp_path) == (0, "", "")
    assert (tmp_path / "film.mp4").read_bytes() == DATA


@pytest.mark.parametrize("is_imported", [True, False])
def test_a_download_in_an_exit_function_works_or_is_one_sentence(
    tmp_path: Path, *, is_imported: bool
) -> None:
    """Functions run in reverse order: one that was registered first runs when all has ended."""
    code = """
import atexit, sys, vidnb
def work():
    try:
        vidnb.download(sys.argv[1], 'film.mp4', progress=False)
    except vidnb.VidnbError as error:
        print(error)
"""
    steps = ["vidnb.download", "atexit.register(work)"]
    with Origin(Film(DATA)) as origin:
        code += "\n".join(steps if is_imported else reversed(steps))
        returncode, out, err = run(code, origin.url, folder=tmp_path)
    assert (returncode, err) == (0, "")
    if not (tmp_path / "film.mp4").exists():
        assert re.fullmatch(r"The thread vidnb-transfers .*, so nothing was done; .*\.\n", out)
    assert is_imported or out


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise KeyboardInterrupt", "job.pause()"])
def test_a_background_job_at_the_end_of_a_script_says_what_was_kept(
    end: str, tmp_path: Path
) -> None:
    with Origin(Film(DATA), script=[stall(300_000)]) as origin:
        code = f"""
import sys, time, vidnb
job = vidnb.start_download(sys.argv[1], 'film.mp4')
while job.progress.done_bytes < 300_000:
    time.sleep(0.01)
{end}
"""
        _, out, err = run(code, origin.url + "?token=secret", folder=tmp_path)
        assert out == ""
        lines = [line for line in err.splitlines() if line.startswith("vidnb:")]
        assert lines == [
            (
                f"vidnb: the program ended before its download of {origin.url}?…: stopped;"
                f" 300.0 kB are kept in {tmp_path}/.vidnb; run the same download again to resume."
                " Wait for it with job.result() or await job."
            )
        ]
        assert visible_names(tmp_path) <= {"cache"}
        run(
            "import sys, vidnb; vidnb.download(sys.argv[1], 'film.mp4')",
            origin.url + "?token=secret",
            folder=tmp_path,
        )
        assert origin.ranges[-1] == "bytes=300000-"
    assert (tmp_path / "film.mp4").read_bytes() == DATA


def test_each_background_job_says_so_also_one_that_has_hardly_begun(tmp_path: Path) -> None:
    with Origin(Film(DATA), otherwise=stall(0)) as origin:
        code = """
import sys, vidnb
jobs = [vidnb.start_download(f'{sys.argv[1]}/{n}') for n in range(3)]
jobs[2].cancel()
"""
        returncode, out, err = run(code, origin.base, folder=tmp_path)
    assert (returncode, out) == (0, "")
    assert sorted(re.findall(r"its download of \S+/(\d): stopped", err)) == ["0", "1"]
    assert err.count("\n") == 2


def test_a_background_job_on_the_programs_own_loop_says_so(tmp_path: Path) -> None:
    code = """
import aiohttp, asyncio, sys, vidnb
async def main():
    async with aiohttp.ClientSession() as session:
        job = vidnb.start_download(sys.argv[1], 'film.mp4', session=session)
        while job.progress.done_bytes < 300_000:
            await asyncio.sleep(0.01)
asyncio.run(main())
"""
    with Origin(Film(DATA), script=[stall(300_000)]) as origin:
        returncode, _, err = run(code, origin.url, folder=tmp_path)
    assert returncode == 0
    assert "the program ended before its download" in err
    assert err.count("\n") == 1


POOLS = {
    "Pool": "with multiprocessing.get_context(how).Pool(2) as pool:\n        pool.map(work, urls)",
    "ProcessPoolExecutor": (
        "with ProcessPoolExecutor(2, multiprocessing.get_context(how)) as pool:\n"
        "        list(pool.map(work, urls))"
    ),
}


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_failure_in_a_worker_process_is_raised_in_its_parent(
    pool: str, how: str, tmp_path: Path
) -> None:
    """The parent has downloaded itself, so its threads and connections exist at a fork."""
    if how not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{how} does not exist here")
    (tmp_path / "program.py").write_text(
        f"""
import multiprocessing, sys, warnings
from concurrent.futures import ProcessPoolExecutor
import vidnb
warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, since Python 3.12
how, base = sys.argv[1:]
def work(url):
    return vidnb.download(url, progress=False).size_bytes
def main():
    work(base + "/first.mp4")
    urls = [base + "/0.mp4", base + "/1.mp4"]
    {POOLS[pool]}
if __name__ == "__main__":
    try:
        main()
    except vidnb.StatusError as error:
        print(error.status, error)
"""
    )
    with Origin(Film(DATA), script=[honest], otherwise=status(404)) as origin:
        code = "import runpy, sys; runpy.run_path('program.py', run_name='__main__')"
        if how != "fork":  # these import the main module by its name
            command = "[sys.executable, 'program.py', *sys.argv[1:]]"
            code = f"import os, sys; os.execv(sys.executable, {command})"
        returncode, out, err = run(code, how, origin.base, folder=tmp_path)
    assert (returncode, err) == (0, "")
    assert re.fullmatch(rf"404 {origin.base}/[01]\.mp4 .*\n", out), out


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM ends a process on POSIX systems")
@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_an_end_without_cleanup_keeps_what_was_recorded(end: str, tmp_path: Path) -> None:
    data = noise(12_000_000)
    with Origin(Film(data), script=[stall(11_000_000)]) as origin:
        code = f"""
import os, signal, sys, time, vidnb
job = vidnb.start_download(sys.argv[1], 'film.mp4', connections=1, progress=False)
while job.progress.done_bytes < 11_000_000:
    time.sleep(0.01)
time.sleep(0.5)
{end}
"""
        returncode, out, _ = run(code, origin.url, folder=tmp_path)
        assert (returncode, out) in {(0, ""), (-signal.SIGTERM, "")}
        code = "import sys, vidnb; vidnb.download(sys.argv[1], 'film.mp4', progress=False)"
        assert run(code, origin.url, folder=tmp_path) == (0, "", "")
        resumed_from_bytes = int((origin.ranges[-1] or "bytes=0-")[6:].partition("-")[0])
        assert resumed_from_bytes > 0
    assert (tmp_path / "film.mp4").read_bytes() == data
