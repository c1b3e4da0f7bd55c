"""Download processes for kill tests, forked from a process that has vidnb loaded.

    with Forks(environment) as forks:
        child = forks.start(url, path, connections=4)
        child.kill()

Each child has its own event loop, threads, sockets and locks; only the imports (half a second) are
done once. The fork server is this module run as a program: it reads one JSON request a line, and
writes the child's process id and, after its end, its outcome.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.deadline import DEADLINE_S

__all__ = ["Child", "Ended", "Forks", "Step"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Step:
    """The `nth` time (from 1) that a download is about to do `event` to a file of its folder.

    The events are Python's audit events: `os.mkdir`, `open`, `fcntl.flock`, `os.rename`, …
    """

    event: str
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: whether it was killed, and the result or the error of its download."""

    is_killed: bool
    result: dict[str, Any] | None
    error: str


class Child:
    """One download in its own process."""

    def __init__(self, pid: int, answer: Callable[[], str]) -> None:
        self.pid = pid
        self._answer = answer
        self._ended: Ended | None = None

    def wait(self) -> Ended:
        """Wait for its end; `TimeoutError` if it hangs."""
        if self._ended is None:
            try:
                outcome = json.loads(self._answer())
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                raise
            is_killed = os.WIFSIGNALED(outcome["status"])
            assert not is_killed or os.WTERMSIG(outcome["status"]) == signal.SIGKILL
            self._ended = Ended(is_killed, **(outcome["outcome"] or {"result": None, "error": ""}))
        return self._ended

    def kill(self) -> Ended:
        """Kill it, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def finish(self) -> dict[str, Any]:
        """Wait for the result of its download; fail the test if there is none."""
        ended = self.wait()
        assert ended.result is not None, ended.error or "it was killed"
        return ended.result


class Forks:
    """A fork server for one child at a time: wait for it, or kill it, before the next one."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)}

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.children"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._buffer = b""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _pipe(self._server.stdin).close()
        try:
            self._server.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._server.kill()  # the child of a failed test is still running; it ends by itself
            self._server.wait()
        _pipe(self._server.stdout).close()

    def start(
        self,
        url: str,
        path: Path,
        *,
        connections: int | None = None,
        dies_at: Step | None = None,
    ) -> Child:
        """Start a download; with `dies_at` it kills itself just before that step."""
        request = {
            "url": url,
            "path": str(path),
            "connections": connections,
            "dies_at": None if dies_at is None else asdict(dies_at),
        }
        _pipe(self._server.stdin).write(f"{json.dumps(request)}\n".encode())
        return Child(int(self._answer()), self._answer)

    def _answer(self) -> str:
        pipe = _pipe(self._server.stdout).fileno()
        while b"\n" not in self._buffer:
            if not select.select([pipe], [], [], DEADLINE_S)[0]:
                raise TimeoutError("the download does not end")
            data = os.read(pipe, 2**16)
            assert data, "the fork server has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


# The code of the fork server and its children.


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        # A fork copies only the calling thread, so there must be no other.
        assert threading.active_count() == 1
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _download(request, writing)
        os.close(writing)
        print(pid, flush=True)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": status, "outcome": json.loads(text or "null")}), flush=True)


def _download(request: dict[str, Any], writing: int) -> None:
    import vidnb

    result, error = None, ""
    try:
        if request["dies_at"] is not None:
            _die_at(Step(**request["dies_at"]), str(Path(request["path"]).parent))
        done = vidnb.download(
            request["url"], request["path"], connections=request["connections"], progress=False
        )
        result = {**asdict(done), "path": str(done.path)}
    except BaseException:  # noqa: BLE001 - reported to the test
        error = traceback.format_exc()
    os.write(writing, json.dumps({"result": result, "error": error}).encode())
    os._exit(0)


def _die_at(step: Step, folder: str) -> None:
    remaining = step.nth

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal remaining
        if event == step.event and (event == "fcntl.flock" or folder in str(arguments[0])):
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)


if __name__ == "__main__":
    # Import all that a download uses, so that no child imports it again.
    import vidnb.download.registry
    import vidnb.widgets.api  # noqa: F401 - loaded for the children

    _serve()
