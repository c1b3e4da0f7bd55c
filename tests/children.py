"""Processes that download, each a fork of one that has vidnb loaded: cheap to kill by dozens.

    with Forks(environment) as forks:
        child = forks.start(url, path, connections=4)
        child.kill()

What is killed is a process of its own, with its own event loop, threads, sockets and locks; only
the half second in which Python imports is spent once. The fork server is this module run as a
program: an order a line on its input, and on its output the child's number and, after its end,
how it ended.
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
    """How a child ended: was it killed, what was the result of its download, what did it raise."""

    is_killed: bool
    result: dict[str, Any] | None
    error: str


class Child:
    """One download in a process of its own."""

    def __init__(self, pid: int, answer: Callable[[], str]) -> None:
        self.pid = pid
        self._answer = answer
        self._ended: Ended | None = None

    def wait(self) -> Ended:
        """Return how it ended, once it has; `TimeoutError` if it hangs."""
        if self._ended is None:
            try:
                said = json.loads(self._answer())
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                raise
            is_killed = os.WIFSIGNALED(said["status"])
            assert not is_killed or os.WTERMSIG(said["status"]) == signal.SIGKILL
            self._ended = Ended(is_killed, **(said["said"] or {"result": None, "error": ""}))
        return self._ended

    def kill(self) -> Ended:
        """Kill it, unless it has ended already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def finish(self) -> dict[str, Any]:
        """Return the result of its download; fail the test if it has none."""
        ended = self.wait()
        assert ended.result is not None, ended.error or "it was killed"
        return ended.result


class Forks:
    """A fork server. One child at a time: wait for it, or kill it, before the next is started."""

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
        self._said = b""
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
            self._server.kill()  # a child of a failed test is still there; it ends on its own
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
        """Start a download; with `dies_at` it kills itself right before that step."""
        order = {
            "url": url,
            "path": str(path),
            "connections": connections,
            "dies_at": None if dies_at is None else asdict(dies_at),
        }
        _pipe(self._server.stdin).write(f"{json.dumps(order)}\n".encode())
        return Child(int(self._answer()), self._answer)

    def _answer(self) -> str:
        pipe = _pipe(self._server.stdout).fileno()
        while b"\n" not in self._said:
            if not select.select([pipe], [], [], DEADLINE_S)[0]:
                raise TimeoutError("a download does not end")
            said = os.read(pipe, 2**16)
            assert said, "the fork server has ended"
            self._said += said
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


# From here on: what runs in the fork server and in its children.


def _serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        # A fork copies one thread only, so there must be no other.
        assert threading.active_count() == 1
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _download(order, writing)
        os.close(writing)
        print(pid, flush=True)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": status, "said": json.loads(said or "null")}), flush=True)


def _download(order: dict[str, Any], writing: int) -> None:
    import vidnb

    result, error = None, ""
    try:
        if order["dies_at"] is not None:
            _die_at(Step(**order["dies_at"]), str(Path(order["path"]).parent))
        done = vidnb.download(
            order["url"], order["path"], connections=order["connections"], progress=False
        )
        result = {**asdict(done), "path": str(done.path)}
    except BaseException:  # noqa: BLE001 - whatever it is, the test wants to see it
        error = traceback.format_exc()
    os.write(writing, json.dumps({"result": result, "error": error}).encode())
    os._exit(0)


def _die_at(step: Step, folder: str) -> None:
    left = step.nth

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == step.event and (event == "fcntl.flock" or folder in str(arguments[0])):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


if __name__ == "__main__":
    # Everything a download uses, so that no child imports it again.
    import vidnb.download.registry
    import vidnb.widgets.api  # noqa: F401 - loaded for the children

    _serve()
