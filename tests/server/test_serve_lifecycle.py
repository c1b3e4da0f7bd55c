"""The server's life cycle: started at first use, one a process, closed silently at its end."""

import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from vidnb.errors import ServeError
from vidnb.server import server
from vidnb.server.server import _port_of_environment, serve, start_server

ROOT = Path(__file__).parents[2]

# What every script below begins with: CLIP, 24 MiB of it, and a plain client.
PRELUDE = """
import os, socket, sys, threading, time, warnings
from urllib.parse import urlsplit

from tests.deadline import DEADLINE_S

CLIP = sys.argv[1]

def connect(served):
    made = socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S)
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


def python(clip: Path, script: str, **environment: str) -> str:
    """Run a script with every warning an error; return all it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(script), str(clip)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_an_import_starts_nothing(clip: Path) -> None:
    printed = python(
        clip,
        """
        import vidnb.server.server
        assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
        """,
    )
    assert printed == ""


def test_the_first_file_starts_one_server_for_the_process(clip: Path) -> None:
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
        first = serve(CLIP)
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
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
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


def test_an_exit_with_clients_in_every_state_is_clean(clip: Path) -> None:
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
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


def test_the_socket_is_gone_with_the_process(clip: Path) -> None:
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
        print(serve(CLIP).port)
        """,
    )
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(printed)), timeout=DEADLINE_S)


def test_an_exception_at_the_top_ends_the_process_all_the_same(clip: Path) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError") as caught:
        python(
            clip,
            """
            from vidnb.server.server import serve
            held = connect(serve(CLIP))
            held.recv(1)
            held.detach()
            1 // 0
            """,
        )
    assert "Exception ignored" not in str(caught.value)
    assert "Task was destroyed" not in str(caught.value)


def test_served_may_be_closed_while_the_process_ends(clip: Path) -> None:
    printed = python(
        clip,
        """
        import atexit
        from vidnb.server import server
        late = []
        atexit.register(lambda: late[0].close())  # runs after vidnb's own end
        late.append(server.serve(CLIP))
        """,
    )
    assert printed == ""


def test_a_served_file_may_be_closed_after_the_loop_ended(clip: Path) -> None:
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
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
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
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


def test_the_parents_end_ends_its_connections_though_a_child_goes_on(clip: Path) -> None:
    """A child that kept the sockets open would leave the parent's clients waiting."""
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
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
            socket.create_connection(("127.0.0.1", int(port)), timeout=DEADLINE_S) as stalled,
            socket.create_connection(("127.0.0.1", int(port)), timeout=DEADLINE_S) as idle,
        ):
            stalled.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
            assert wait_for(parent) == 0
            received = 0
            while data := stalled.recv(1 << 20):
                received += len(data)
            assert 0 < received < 24 << 20
            assert idle.recv(1) == b""
        try:
            socket.create_connection(("127.0.0.1", int(port)), timeout=DEADLINE_S)
        except ConnectionRefusedError:
            print("refused")
        """,
    )
    assert printed == "refused\n"


def test_a_worker_of_multiprocessing_may_serve(clip: Path) -> None:
    printed = python(
        clip,
        """
        import multiprocessing
        from vidnb.server.server import serve
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


# --- other hosts


def test_another_host_has_a_listener_and_files_of_its_own(clip: Path) -> None:
    printed = python(
        clip,
        """
        from vidnb.server.server import start_server
        from vidnb.server.server import serve
        near, far = serve(CLIP), serve(CLIP, host="127.0.0.2")
        assert near.url.startswith(f"http://127.0.0.1:{near.port}/")
        assert far.url.startswith(f"http://127.0.0.2:{far.port}/")
        assert serve(CLIP, host="127.0.0.2").port == far.port == start_server(host="127.0.0.2")
        with open("/proc/net/tcp") as table:
            listening = {line.split()[1] for line in table if line.split()[3] == "0A"}
        assert f"0100007F:{near.port:04X}" in listening
        assert f"0200007F:{far.port:04X}" in listening

        def ask(address, port, served, host):
            with socket.create_connection((address, port), timeout=DEADLINE_S) as made:
                path = urlsplit(served.url).path
                made.sendall(f"HEAD {path} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
                return made.recv(12)[-3:].decode()

        for host in "127.0.0.2", f"127.0.0.2:{far.port}", "localhost", "192.0.2.7", "[2001:db8::7]":
            assert ask("127.0.0.2", far.port, far, host) == "200", host
        assert ask("127.0.0.2", far.port, far, "evil.example") == "404"
        assert ask("127.0.0.2", far.port, near, "localhost") == "404"
        assert ask("127.0.0.1", near.port, far, "localhost") == "404"
        assert ask("127.0.0.1", near.port, near, "127.0.0.2") == "404"
        far.close()
        assert ask("127.0.0.2", far.port, far, "localhost") == "404"
        assert status(near) == "200"
        """,
    )
    assert printed == ""


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ("host='0.0.0.0'", "127.0.0.1"),
        ("host='localhost'", "localhost"),
        ("host='0.0.0.0', allowed_hosts=['LocalHost']", "localhost"),
        ("host='::'", "[::1]"),
        ("host='::1'", "[::1]"),
    ],
)
def test_the_url_has_a_host_that_can_be_connected_to(clip: Path, options: str, host: str) -> None:
    if "[" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    printed = python(
        clip,
        f"""
        import urllib.request
        from vidnb.server.server import serve
        with serve(CLIP, {options}) as served:
            print(urlsplit(served.url).netloc.removesuffix(f":{{served.port}}"))
            for url in served.url, served.page_url:
                with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                    assert answer.status == 200
        """,
    )
    assert printed == f"{host}\n"


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.7", "cannot assign requested address"),  # RFC 5737: nobody's
        ("nothing.invalid", "the host is unknown"),  # RFC 6761: never there
        ("a" * 64 + ".invalid", "the host is unknown"),
    ],
)
def test_a_host_of_another_machine_is_one_sentence(clip: Path, host: str, reason: str) -> None:
    with pytest.raises(ServeError) as caught:
        serve(clip, host=host)
    assert str(caught.value) == (
        f"The server could not listen on a free port of {host} ({reason}), so nothing is served; "
        "give an address of this machine, or leave the host out."
    )


def test_an_invalid_host_is_refused_before_anything_listens(clip: Path) -> None:
    for wrong in "", "http://localhost", "localhost:80":
        with pytest.raises(ValueError, match="which is not a host"):
            serve(clip, host=wrong)
        with pytest.raises(ValueError, match="which is not a host"):
            serve(clip, allowed_hosts=[wrong])


def test_the_environments_port_is_loopbacks(clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
        print(serve(CLIP, host="127.0.0.2").port == int(os.environ["VIDNB_PORT"]))
        print(serve(CLIP).port)
        """,
        VIDNB_PORT=str(port),
    )
    assert printed == f"False\n{port}\n"


def test_a_forked_child_releases_every_listener(clip: Path) -> None:
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
        allow_forks()
        near, far = serve(CLIP), serve(CLIP, host="127.0.0.2")
        child = os.fork()
        if not child:
            mine = serve(CLIP, host="127.0.0.2")
            sys.exit(7 if mine.port != far.port else 1)
        assert wait_for(child) == 7
        assert status(near) == "200"
        """,
    )
    assert printed == ""


# --- many at once

# Two hundred clients that read a head and no more, in a process of their own.
STALLED = """
import socket, sys
from tests.deadline import DEADLINE_S
held = []
for _ in range(200):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    made.connect(("127.0.0.1", int(sys.argv[1])))
    made.sendall(f"GET {sys.argv[2]} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
    assert made.recv(12) == b"HTTP/1.1 200"
    held.append(made)
print("stalled", flush=True)
sys.stdin.read()
"""


def test_two_hundred_stalled_clients_cost_little_memory_and_block_no_other(clip: Path) -> None:
    printed = python(
        clip,
        """
        import subprocess
        from vidnb.server.server import serve

        def resident_bytes():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

        served, other = serve(CLIP), serve(CLIP)
        assert status(served) == status(other) == "200"
        before = resident_bytes()
        path = urlsplit(served.url).path
        command = [sys.executable, "-c", os.environ["STALLED"], str(served.port), path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as readers:
            assert readers.stdout.readline() == b"stalled\\n"
            received = 0
            with connect(other) as made:
                while received < 24 << 20:
                    data = made.recv(1 << 20)
                    assert data
                    received += len(data)
            more = resident_bytes() - before
            assert more < 24 << 20, f"{more} bytes more"
            readers.stdin.close()
            print("served")
        """,
        STALLED=STALLED,
    )
    assert printed == "served\n"


# --- reloads


def test_a_reload_leaks_no_second_server(clip: Path) -> None:
    printed = python(
        clip,
        """
        import importlib
        from vidnb.server import app
        from vidnb.server import folder
        from vidnb.server.pages import page
        from vidnb.server import protocol
        from vidnb.server import registry
        from vidnb.server import response_writer
        from vidnb.server import server
        from vidnb.server import sources
        from vidnb.io import loop
        before = server.serve(CLIP)
        listed = folder.serve_folder(os.path.dirname(CLIP))
        for _ in range(3):
            for module in loop, sources, page, registry, response_writer, protocol, app:
                importlib.reload(module)
            for module in server, folder:
                importlib.reload(module)
        import urllib.request
        with urllib.request.urlopen(listed.page_url) as answer:
            assert b"clip.mp4" in answer.read()
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


def test_the_port_may_be_set(clip: Path) -> None:
    printed = python(
        clip,
        """
        from vidnb.server.server import start_server
        from vidnb.server.server import serve
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
        "The server already runs on port N of 127.0.0.1, so it cannot run on M; set the port "
        "before anything is served.\n"
    )


def test_the_environment_may_set_the_port(clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    printed = python(
        clip,
        """
        from vidnb.server.server import serve
        served = serve(CLIP)
        print(served.port, status(served))
        """,
        VIDNB_PORT=str(port),
    )
    assert printed == f"{port} 200\n"


@pytest.mark.parametrize("value", ["http", "-1", "65536", "٣", "1e3", " 80", "", "000080"])
def test_an_invalid_port_in_the_environment_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDNB_PORT", value)
    with pytest.raises(
        ServeError, match=re.escape(f"VIDNB_PORT is {value!r}, which is no port number")
    ):
        _port_of_environment()


@pytest.mark.parametrize(("value", "port"), [("0", 0), ("80", 80), ("65535", 65535)])
def test_a_port_in_the_environment_counts(
    value: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDNB_PORT", value)
    assert _port_of_environment() == port


def test_a_running_server_returns_its_port(clip: Path) -> None:
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
