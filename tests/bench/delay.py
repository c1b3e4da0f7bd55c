"""A network namespace with a delay of 20 ms in each direction.

With veth and netem if the kernel has them, else with two TUN devices and a process that forwards
packets after 20 ms (`delay_forwarder.py`). In both, handshakes, windows and slow start are the
kernel's. Both need root; everything is removed at the end.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

DELAY_MS = 20
NEAR, FAR = "10.213.77.1", "10.213.77.2"
READY_S = 5.0


class DelayUnavailable(Exception):  # noqa: N818 - part of the report
    """The delay cannot be set up on this machine; the message says why."""


@dataclass(frozen=True)
class RemoteNamespace:
    """The namespace: its address, the command prefix, and how it was set up."""

    host: str
    prefix: tuple[str, ...]
    method: str


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DelayUnavailable(f"`{' '.join(command)}` fails: {done.stderr.strip()}")


@contextlib.contextmanager
def remote_namespace() -> Iterator[RemoteNamespace]:
    """Set up the namespace and its route; `DelayUnavailable` if that is impossible."""
    if os.geteuid() != 0:
        raise DelayUnavailable("a network namespace needs root")
    missing = [one for one in ("ip", "tc") if shutil.which(one) is None]
    if missing:
        raise DelayUnavailable(f"{missing[0]} is not installed")
    name = f"vidnb{os.getpid()}"
    prefix = ("ip", "netns", "exec", name)
    with ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        try:
            method = _with_netem(stack, name)
        except DelayUnavailable as unavailable:
            method = _with_tun(stack, name, unavailable)
        # Metrics of one client's connections must not speed up the next one's.
        no_metrics = "echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save"
        _run(*prefix, "sh", "-c", no_metrics)
        _wait_for_route()
        yield RemoteNamespace(FAR, prefix, method)


def _with_netem(stack: ExitStack, name: str) -> str:
    near, far = f"vn{os.getpid()}", f"vf{os.getpid()}"
    with ExitStack() as undo:
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        undo.callback(_ip, "link", "del", near)
        delay = ("root", "netem", "delay", f"{DELAY_MS}ms", "limit", "100000")
        _run("tc", "qdisc", "add", "dev", near, *delay)
        _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", far, *delay)
        _ip("addr", "add", f"{NEAR}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", name, "addr", "add", f"{FAR}/30", "dev", far)
        _ip("-n", name, "link", "set", far, "up")
        stack.push(undo.pop_all())
    return "veth and netem"


def _with_tun(stack: ExitStack, name: str, unavailable: DelayUnavailable) -> str:
    if not Path("/dev/net/tun").exists():
        raise unavailable
    near, far = f"tn{os.getpid()}", f"tf{os.getpid()}"
    program = Path(__file__).with_name("delay_forwarder.py")
    forwarder = subprocess.Popen([sys.executable, str(program), near, far, str(DELAY_MS)])
    stack.callback(forwarder.wait)
    stack.callback(forwarder.terminate)  # which removes the devices
    deadline_s = time.monotonic() + READY_S
    while not all(Path(f"/sys/class/net/{one}").exists() for one in (near, far)):
        if forwarder.poll() is not None or time.monotonic() > deadline_s:
            raise unavailable
        time.sleep(0.02)
    _ip("link", "set", far, "netns", name)
    # A queue long enough for the packets of 16 connections in flight, so that none is lost.
    _ip("addr", "add", NEAR, "peer", FAR, "dev", near)
    _ip("link", "set", near, "txqueuelen", "10000", "up")
    _ip("-n", name, "addr", "add", FAR, "peer", NEAR, "dev", far)
    _ip("-n", name, "link", "set", far, "txqueuelen", "10000", "up")
    return "two TUN devices, because this kernel has no netem"


def _wait_for_route() -> None:
    """Wait until a packet returns, which also fills the neighbour table."""
    import socket

    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection((FAR, 9), timeout=0.5).close()
        except ConnectionRefusedError:
            return
        except OSError:
            time.sleep(0.05)
    raise DelayUnavailable("no packet returns from the namespace")
