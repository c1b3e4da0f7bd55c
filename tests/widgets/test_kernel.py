"""Downloads on real kernels, old and new: queued cells, interrupts and `await`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.assets import ipykernel_release
from tests.deadline import DEADLINE_S, wait_until
from tests.network import SlowProxy


@pytest.fixture(params=["6.30.1", "newest"])
def ipykernel(request: pytest.FixtureRequest) -> str | None:
    """Where the kernel's ipykernel comes from, for PYTHONPATH."""
    return None if request.param == "newest" else str(ipykernel_release(request.param))


class Kernel:
    """A kernel and its messages."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def send(self, code: str, *, aborts_others: bool = True) -> str:
        """Queue a cell; by default an error in it aborts the cells queued behind it."""
        return str(self.client.execute(code, store_history=True, stop_on_error=aborts_others))

    def reply(self, cell: str) -> dict[str, Any]:
        """Wait for one cell's reply."""
        while True:
            message = self.client.get_shell_msg(timeout=DEADLINE_S)
            if message["parent_header"].get("msg_id") == cell:
                content: dict[str, Any] = message["content"]
                return content

    def run(self, code: str) -> str:
        """Run a cell and return what it printed; fail if it failed."""
        cell = self.send(code)
        content = self.reply(cell)
        assert content["status"] == "ok", content
        return self.printed(cell)

    def printed(self, cell: str) -> str:
        """Return what a finished cell printed."""
        text = ""
        while True:
            message = self.client.get_iopub_msg(timeout=DEADLINE_S)
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "stream":
                text += message["content"]["text"]
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return text


@contextmanager
def started(folder: Path, ipykernel: str | None, proxy: str) -> Iterator[Kernel]:
    environment = dict(os.environ)
    # The client requests no subshells, as an older front end.
    if ipykernel is not None:
        environment["PYTHONPATH"] = os.pathsep.join([ipykernel, *sys.path])
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment, cwd=str(folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=DEADLINE_S)
        kernel = Kernel(manager, client)
        version = kernel.run("import ipykernel; print(ipykernel.__version__)").strip()
        assert version.startswith("6.30") == (ipykernel is not None)
        kernel.run("import vidnb; web = vidnb.serve(vidnb.sample()); size = web.size_bytes")
        kernel.run(f"slow = {{'proxy': {proxy!r}}}")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_queued_cells_all_run(tmp_path: Path, ipykernel: str | None) -> None:
    """Three cells sent at once behind a download: each runs, in its turn."""
    with SlowProxy(200_000) as proxy, started(tmp_path, ipykernel, proxy.url) as kernel:
        cells = [
            kernel.send("result = vidnb.download(web.url, 'a.mp4', **slow)"),
            kernel.send("second = result.size_bytes"),
            kernel.send("print(second == size, result.path.name)"),
        ]
        assert [kernel.reply(cell)["status"] for cell in cells] == ["ok"] * 3
        assert kernel.printed(cells[2]) == "True a.mp4\n"


def test_await_and_session_lose_no_cell(tmp_path: Path, ipykernel: str | None) -> None:
    """`await`, and a caller's own session in a blocking call, with more cells queued behind."""
    with SlowProxy(400_000) as proxy, started(tmp_path, ipykernel, proxy.url) as kernel:
        cells = [
            kernel.send("awaited = await vidnb.download_async(web.url, 'b.mp4', **slow)"),
            kernel.send("import aiohttp; session = aiohttp.ClientSession()"),
            kernel.send("own = vidnb.download(web.url, 'c.mp4', session=session)"),
            kernel.send("await session.close()"),
            kernel.send("saved = await vidnb.save_video_from_url(web.url, 'd.mp4')"),
            kernel.send("print(awaited.sha256 == own.sha256, saved)"),
        ]
        assert [kernel.reply(cell)["status"] for cell in cells] == ["ok"] * 6
        assert kernel.printed(cells[-1]) == "True d.mp4\n"


def test_an_interrupt_keeps_the_stored_bytes(tmp_path: Path, ipykernel: str | None) -> None:
    """An interrupt ends the cell with one sentence; running the cell again resumes."""
    with SlowProxy(100_000) as proxy, started(tmp_path, ipykernel, proxy.url) as kernel:
        # ipykernel 6 may still abort a cell that is sent after the reply.
        cell = kernel.send(
            "result = vidnb.download(web.url, 'film.mp4', **slow)", aborts_others=False
        )
        part = tmp_path / ".vidnb"
        wait_until(lambda: any(p.stat().st_size > 40_000 for p in part.glob("*.part")))
        kernel.manager.interrupt_kernel()
        content = kernel.reply(cell)
        assert content["ename"] == "KeyboardInterrupt"
        shown = "\n".join(content["traceback"])
        assert "film.mp4 was interrupted" in shown
        assert "kept" in shown
        assert len(content["traceback"]) == 1, shown
        assert not (tmp_path / "film.mp4").exists()
        assert kernel.run("print(1 + 1)") == "2\n"
        again = kernel.run(
            "result = vidnb.download(web.url, 'film.mp4', **slow)\n"
            "print(result.resumed_from_bytes > 0, result.size_bytes == size)"
        )
        assert again == "True True\n"
