"""The server's life: started at first use, one per process, gone with it and without a word."""

import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from vidnb.engine import server
from vidnb.engine.server import _port_of_environment, serve, start_server
from vidnb.errors import ServeError

ROOT = Path(__file__).parents[2]

# What every script below begins with: CLIP, 24 MiB of it, and a plain client.
PRELUDE = """
import os, socket, sys, threading, time, warnings
from urllib.parse import urlsplit

CLIP = sys.argv[1]

def connect(served):
    made = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    path = urlsplit(served.url).path
    made.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
    return made

def status(served):
    with connect(served) as made:
        return made.recv(12)[-3:].decode()

def allow_forks():
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads and fork

def wait_for(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(1024 * 1024) * 24)
    return path


def python(clip: Path, script: str, **environment: str) -> tuple[str, float]:
    """Run a script with every warning an error; return all it printed and how long it took."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(script), str(clip)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, time.monotonic() - began_s


def test_importing_starts_nothing(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        import vidnb.engine.server
        assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
        """,
    )
    assert printed == ""


def test_the_first_file_starts_one_server_for_the_process(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve
        began_s = time.perf_counter()
        first = serve(CLIP)
        assert time.perf_counter() - began_s < 0.1
        second = serve(CLIP)
        assert first.port == second.port
        assert sum(thread.name == "vidnb-server" for thread in threading.enumerate()) == 1
        with open("/proc/net/tcp") as table:
            listening = {line.split()[1] for line in table if line.split()[3] == "0A"}
        assert {each for each in listening if each.endswith(f":{first.port:04X}")} == {
            f"0100007F:{first.port:04X}"
        }
        """,
    )
    assert printed == ""


def test_many_threads_start_one_server(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve
        found = []
        threads = [threading.Thread(target=lambda: found.append(serve(CLIP))) for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len({served.port for served in found}) == 1
        assert len({served.url for served in found}) == 16
        assert {status(served) for served in found} == {"200"}
        """,
    )
    assert printed == ""


def test_an_exit_with_readers_in_every_state_is_clean_and_quick(clip: Path) -> None:
    printed, took_s = python(
        clip,
        """
        from vidnb.engine.server import serve
        kept = [serve(CLIP) for _ in range(3)]
        kept[2].close()
        held = [connect(served) for served in kept for _ in range(5)]  # stalled in mid-file
        held += [socket.create_connection(("127.0.0.1", kept[0].port)) for _ in range(5)]  # idle
        held[-1].sendall(b"GET / HT")
        assert status(kept[0]) == "200"
        time.sleep(0.3)
        for sock in held[::2]:
            sock.close()
        for sock in held[1::2]:
            sock.detach()  # the process ends with these open
        """,
    )
    assert printed == ""
    assert took_s < 5


def test_the_socket_is_gone_with_the_process(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve
        print(serve(CLIP).port)
        """,
    )
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(printed)), timeout=5)


def test_an_exception_at_the_top_ends_the_process_all_the_same(clip: Path) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError") as caught:
        python(
            clip,
            """
            from vidnb.engine.server import serve
            held = connect(serve(CLIP))
            held.recv(1)
            held.detach()
            1 // 0
            """,
        )
    assert "Exception ignored" not in str(caught.value)
    assert "Task was destroyed" not in str(caught.value)


def test_served_may_be_closed_while_the_process_ends(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        import atexit
        from vidnb.engine import server
        late = []
        atexit.register(lambda: late[0].close())  # runs after vidnb's own end
        import importlib
        late.append(server.serve(CLIP))
        """,
    )
    assert printed == ""


def test_a_served_file_may_be_closed_after_the_loop_ended(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve
        from vidnb.io import loop
        served = serve(CLIP)
        loop.server.close()
        served.close()
        served.close()
        """,
    )
    assert printed == ""


# --- forks


def test_a_forked_child_serves_for_itself_and_shares_no_socket(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve
        allow_forks()
        served = serve(CLIP)
        held = connect(served)
        assert held.recv(12)[-3:] == b"200"
        child = os.fork()
        if not child:
            held.detach()
            served.close()  # which is not the child's to end, nor a reason to start anything
            assert threading.active_count() == 1
            mine = serve(CLIP)
            assert mine.port != served.port
            assert status(mine) == "200"
            assert status(served) == "200"  # the parent's, while the parent lives
            sys.exit(7)
        assert wait_for(child) == 7
        assert status(served) == "200"
        held.close()
        """,
    )
    assert printed == ""


def test_the_parents_end_ends_its_connections_though_a_child_lives_on(clip: Path) -> None:
    """A child that kept the sockets would leave every reader of the parent's hanging."""
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve
        allow_forks()
        receiving, sending = os.pipe()
        waiting, living = os.pipe()
        parent = os.fork()
        if not parent:
            served = serve(CLIP)
            os.write(sending, f"{served.port} {urlsplit(served.url).path}\\n".encode())
            time.sleep(0.5)  # a reader connects and stalls, another is idle
            if not os.fork():
                os.close(1)
                os.close(2)
                os.close(living)
                os.read(waiting, 1)  # lives on until the test is over
                os._exit(0)
            sys.exit(0)
        port, path = os.read(receiving, 1000).decode().split()
        with (
            socket.create_connection(("127.0.0.1", int(port)), timeout=10) as stalled,
            socket.create_connection(("127.0.0.1", int(port)), timeout=10) as idle,
        ):
            stalled.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
            assert wait_for(parent) == 0
            received = 0
            while data := stalled.recv(1 << 20):
                received += len(data)
            assert 0 < received < 24 << 20
            assert idle.recv(1) == b""
        try:
            socket.create_connection(("127.0.0.1", int(port)), timeout=10)
        except ConnectionRefusedError:
            print("refused")
        """,
    )
    assert printed == "refused\n"


def test_a_worker_of_multiprocessing_may_serve(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        import multiprocessing
        from vidnb.engine.server import serve
        allow_forks()
        def work(path):
            with serve(path) as served:
                return status(served), served.port
        with serve(CLIP) as served, multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(work, [CLIP] * 4)
            assert {each for each, _ in found} == {"200"}
            assert served.port not in {port for _, port in found}
            assert status(served) == "200"
        """,
    )
    assert printed == ""


# --- reloads


def test_a_reload_leaks_no_second_server(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        import importlib
        from vidnb.engine import server
        from vidnb.io import loop
        before = server.serve(CLIP)
        for _ in range(3):
            importlib.reload(loop)
            importlib.reload(server)
        after = server.serve(CLIP)
        assert after.port == before.port
        assert status(before) == status(after) == "200"
        before.close()
        assert status(before) == "404"
        assert sum(thread.name == "vidnb-server" for thread in threading.enumerate()) == 1
        """,
    )
    assert printed == ""


# --- the port


def test_the_port_may_be_asked_for(clip: Path) -> None:
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve, start_server
        from vidnb.errors import ServeError
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            try:
                start_server(port)
            except ServeError as error:
                print(str(error).replace(str(port), "N"))
        assert start_server(port) == port
        assert start_server() == start_server(port) == serve(CLIP).port == port
        try:
            start_server(port + 1)
        except ServeError as error:
            print(str(error).replace(str(port + 1), "M").replace(str(port), "N"))
        """,
    )
    assert printed == (
        "The server could not listen on port N of 127.0.0.1 (address already in use), so nothing "
        "is served; choose another port, or leave it out to get a free one.\n"
        "The server already runs on port N of 127.0.0.1, so it cannot run on M; ask for the port "
        "before anything is served.\n"
    )


def test_the_environment_may_name_the_port(clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    printed, _ = python(
        clip,
        """
        from vidnb.engine.server import serve
        served = serve(CLIP)
        print(served.port, status(served))
        """,
        VIDNB_PORT=str(port),
    )
    assert printed == f"{port} 200\n"


@pytest.mark.parametrize("value", ["http", "-1", "65536", "٣", "1e3", " 80", "", "000080"])
def test_a_senseless_port_in_the_environment_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDNB_PORT", value)
    with pytest.raises(ServeError, match=re.escape(f"VIDNB_PORT is {value!r}, which is no port")):
        _port_of_environment()


@pytest.mark.parametrize(("value", "port"), [("0", 0), ("80", 80), ("65535", 65535)])
def test_a_port_in_the_environment_counts(
    value: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDNB_PORT", value)
    assert _port_of_environment() == port


def test_a_running_server_answers_its_port(clip: Path) -> None:
    with serve(clip) as served:
        assert start_server() == served.port
        assert start_server(served.port) == served.port
        with pytest.raises(ServeError, match=f"already runs on port {served.port}"):
            start_server(1 if served.port != 1 else 2)


def test_a_start_that_fails_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    real = socket.create_server

    def create(address: tuple[str, int], **options: Any) -> socket.socket:
        made.append(real(address, **options))
        return made[-1]

    async def fail(_: object) -> None:
        raise LookupError

    monkeypatch.setattr(socket, "create_server", create)
    monkeypatch.setattr(server.Server, "start", fail)
    with pytest.raises(LookupError):
        server._started(0)
    assert made[0].fileno() == -1
