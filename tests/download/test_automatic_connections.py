"""How many connections downloads really open: one, several, and never too many in all.

What is decided is in `tests/planner/test_concurrency.py` and `test_transfer.py`; these tests use
real sockets.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S, wait_until
from tests.origin import Exchange, Film, Handler, Origin, fetch, noise, plain, redirect, status
from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, DownloadResult
from vidnb.download.slots import slots
from vidnb.download.status import DownloadHandle, Phase
from vidnb.io.loop import transfers

QUICK = RetryPolicy(attempts=4, base_delay_s=0.01, max_delay_s=0.02)
DATA = noise(12_000_000)
FILM = Film(DATA)


class Gate:
    """Answers honestly, each connection at `bytes_per_s`; more than `most` at once get a 503."""

    def __init__(self, bytes_per_s: float, most: int = 1000) -> None:
        self.bytes_per_s = bytes_per_s
        self.most = most
        self.now = self.peak = self.refused = 0
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
            is_refused = self.now > self.most
            self.refused += is_refused
        try:
            if is_refused:
                status(503)(exchange)
            else:
                self._answer(exchange)
        finally:
            with self._lock:
                self.now -= 1

    def _answer(self, exchange: Exchange) -> None:
        said = exchange.response()
        exchange.head(said.status, (*said.headers, *exchange.film.headers))
        due_s = time.monotonic()
        for part in said.body:
            assert not isinstance(part, bytes)
            body = exchange.film.data[part.start : part.stop]
            for at in range(0, len(body), 2**14):
                exchange.send(body[at : at + 2**14])
                due_s += min(2**14, len(body) - at) / self.bytes_per_s
                time.sleep(max(0.0, due_s - time.monotonic()))


def request_for(origin: Origin, path: Path, **options: Any) -> DownloadRequest:
    return DownloadRequest.of(origin.url, path, **{"retry": QUICK, **options})


def check(result: DownloadResult) -> None:
    assert result.sha256 == hashlib.sha256(DATA).hexdigest()
    assert result.path.read_bytes() == DATA


@pytest.fixture
def slots_are_back() -> Iterator[None]:
    """Whatever happens, every connection is given back."""
    before = slots.available("nobody")
    yield
    wait_until(lambda: slots.available("nobody") == before)


pytestmark = pytest.mark.usefixtures("slots_are_back")


def test_several_where_each_is_slow(tmp_path: Path) -> None:
    """At 2 MB/s a connection: found out while it runs, without much sent twice."""
    gate = Gate(2e6)
    with Origin(FILM, otherwise=gate) as origin:
        result = fetch(request_for(origin, tmp_path / "a.mp4"))
    check(result)
    assert result.connections >= 4
    assert gate.peak <= 16
    # What is on its way when a tail is given away is lost: a socket's buffer for each connection.
    assert origin.sent_bytes <= 1.3 * len(DATA)
    assert result.attempts == 1


def test_one_where_all_share_the_line(tmp_path: Path) -> None:
    """The origin limits the rate of all connections together: more of them bring nothing.

    On a busy machine a probe may seem to pay once or twice, so the bounds are wide;
    `tests/planner/test_concurrency.py` has the exact ones.
    """
    with Origin(FILM, rate=4e6) as origin:
        result = fetch(request_for(origin, tmp_path / "a.mp4"))
    check(result)
    assert result.connections < 16
    assert len(origin.requests) < 40


def test_one_is_one(tmp_path: Path) -> None:
    with Origin(FILM, otherwise=Gate(6e6)) as origin:
        result = fetch(request_for(origin, tmp_path / "a.mp4", connections=1))
    check(result)
    assert (result.connections, origin.ranges) == (1, [None])


@pytest.mark.parametrize("connections", [None, 8])
def test_what_a_host_refuses_is_asked_once(connections: int | None, tmp_path: Path) -> None:
    """It takes two at once; the next download of this process knows that."""
    gate = Gate(3e6, most=2)
    with Origin(FILM, otherwise=gate) as origin:
        check(fetch(request_for(origin, tmp_path / "a.mp4", connections=connections)))
        refused = gate.refused
        assert refused > 0
        result = fetch(request_for(origin, tmp_path / "b.mp4", connections=connections))
    check(result)
    assert result.connections == 2
    assert (gate.refused, result.attempts) == (refused, 1)


def test_name_and_url_come_from_the_response_whose_bytes_are_stored(tmp_path: Path) -> None:
    """Not from a connection that was refused later, even behind a redirect of its own."""
    gate = Gate(3e6, most=1)

    def handle(exchange: Exchange) -> None:
        if exchange.request.target == "/film.mp4":
            redirect("/too-many-connections.mp4" if gate.now else "/real-name.mp4")(exchange)
        elif "many" in exchange.request.target:
            gate.refused += 1
            status(503, {"Content-Type": "text/html"})(exchange)
        else:
            gate(exchange)

    with Origin(FILM, otherwise=handle) as origin:
        result = fetch(request_for(origin, tmp_path, connections=4))
        assert gate.refused > 0
        assert result.url == f"{origin.base}/real-name.mp4"
    check(result)
    assert result.path == tmp_path / "real-name.mp4"
    assert result.media_type == "video/mp4"


def test_a_host_without_ranges_is_asked_for_one_once(tmp_path: Path) -> None:
    """The stream that runs is not touched by it, and the next download does not ask."""
    with Origin(FILM, otherwise=plain, rate=12e6) as origin:
        check(fetch(request_for(origin, tmp_path / "a.mp4")))
        conditions = [asked.headers.get("if-range") for asked in origin.requests]
        assert [asked is None for asked in origin.ranges] == [True, False, False]
        assert conditions == [None, '"v1"', None]  # some answer only a plain Range
        assert origin.requests[0].sent_bytes == len(DATA)
        check(fetch(request_for(origin, tmp_path / "b.mp4")))
    assert origin.ranges[3:] == [None]


def test_a_host_that_says_so_is_not_asked(tmp_path: Path) -> None:
    def none(exchange: Exchange) -> None:
        said = exchange.response(ignoring=exchange.request.headers)
        exchange.respond(said, changed={"accept-ranges": "none"})

    with Origin(FILM, otherwise=none, rate=12e6) as origin:
        result = fetch(request_for(origin, tmp_path / "a.mp4"))
    check(result)
    assert (result.connections, origin.ranges) == (1, [None])


def test_many_downloads_stay_within_the_limit(tmp_path: Path) -> None:
    """Forty files of one host at once: sixteen connections, and each file in its turn."""
    small = Film(noise(60_000))
    gate = Gate(400_000)
    with Origin(small, otherwise=gate) as origin:
        handles = [DownloadHandle() for _ in range(40)]
        notes: set[str] = set()

        async def all_of_them() -> list[DownloadResult]:
            running = [
                asyncio.ensure_future(
                    download(
                        DownloadRequest.of(
                            f"{origin.base}/{n}.mp4", tmp_path / f"{n}.mp4", retry=QUICK
                        ),
                        handle,
                    )
                )
                for n, handle in enumerate(handles)
            ]
            while not all(one.done() for one in running):
                notes.update(w.status.note for w in handles if w.status.phase is Phase.WAITING)
                await asyncio.sleep(0.01)
            return await asyncio.gather(*running)

        results = transfers.submit(all_of_them()).result(DEADLINE_S)
    assert {result.path.read_bytes() for result in results} == {small.data}
    assert 1 < gate.peak <= 16
    assert notes == {"other downloads use all the connections that this host allows"}


def test_who_has_several_makes_way(tmp_path: Path) -> None:
    """One download with all sixteen connections; a second one need not wait for its end."""
    gate = Gate(250_000)
    with Origin(FILM, otherwise=gate) as origin:
        greedy = transfers.submit(
            download(request_for(origin, tmp_path / "a.mp4", connections=16), DownloadHandle())
        )
        origin.wait_for(lambda: gate.now == 16)
        handle = DownloadHandle()
        second = transfers.submit(
            download(
                DownloadRequest.of(f"{origin.base}/other.mp4", tmp_path / "b.mp4", connections=1),
                handle,
            )
        )
        origin.wait_for(lambda: handle.status.done_bytes > 0)
        assert not greedy.done()
        gate.bytes_per_s = 1e9
        check(greedy.result(DEADLINE_S))
        check(second.result(DEADLINE_S))
    assert gate.peak <= 17  # one that was given up may still be read by the origin


def test_paused_downloads_stand_in_nobodys_way(tmp_path: Path) -> None:
    gate = Gate(100_000)
    with Origin(FILM, otherwise=gate) as origin:
        handle = DownloadHandle()
        paused = transfers.submit(
            download(request_for(origin, tmp_path / "a.mp4", connections=16), handle)
        )
        origin.wait_for(lambda: gate.now == 16)
        handle.pause()
        gate.bytes_per_s = 1e9
        host = ("http", "127.0.0.1", origin.port)
        origin.wait_for(lambda: slots.available(host) == 16)
        check(fetch(DownloadRequest.of(f"{origin.base}/b.mp4", tmp_path / "b.mp4", connections=16)))
        handle.resume()
        check(paused.result(DEADLINE_S))


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_however_it_ends_nothing_stays_taken(how: str, tmp_path: Path) -> None:
    """`slots_are_back` looks; also what was only waited for."""
    gate: Handler = Gate(100_000) if how == "cancelled" else status(404)
    with Origin(FILM, otherwise=gate) as origin:
        running = [
            transfers.submit(
                download(
                    DownloadRequest.of(f"{origin.base}/{n}", tmp_path / f"{n}.mp4", connections=4),
                    DownloadHandle(),
                )
            )
            for n in range(24)
        ]
        if how == "cancelled":
            origin.wait_for(lambda: len(origin.requests) >= 16)
            for one in running:
                one.cancel()
        for one in running:
            assert one.exception(20) if how == "failed" else one.cancelled()
