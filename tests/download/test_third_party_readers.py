"""Clients that nobody here wrote read a served file right: whole, in ranges, resumed, in a seek.

A program that is not installed is skipped, and a failure in CI.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from vidnb.server.folder import serve_folder
from vidnb.server.server import Served, serve

MIB = 1024 * 1024
SIZE_BYTES = 24 * MIB + 17


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "a film #1.mp4"
    path.write_bytes(os.urandom(SIZE_BYTES))
    return path


@pytest.fixture
def served(film: Path) -> Iterator[Served]:
    with serve(film) as made:
        yield made


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where a client puts what it fetched, with the beginning of an earlier try if it likes."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder / "film.mp4"


def run(*command: str) -> bytes:
    program = command[0]
    if shutil.which(program) is None:
        missing = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    ran = subprocess.run(
        command, capture_output=True, timeout=DEADLINE_S, check=False, stdin=subprocess.DEVNULL
    )
    assert ran.returncode == 0, (ran.stdout[-2000:], ran.stderr[-2000:])
    return ran.stdout


def curl(*words: str) -> bytes:
    return run("curl", "--silent", "--show-error", "--fail", "--max-time", "30", *words)


def test_curl_fetches_the_whole(served: Served, film: Path) -> None:
    assert curl(served.url) == film.read_bytes()
    assert served.answered == {200: 1}


@pytest.mark.parametrize(
    ("asked", "first", "stop"),
    [("0-0", 0, 1), ("200-1000", 200, 1001), (f"{SIZE_BYTES - 5}-", -5, None), ("-3", -3, None)],
)
def test_curl_fetches_a_range(
    served: Served, film: Path, asked: str, first: int, stop: int | None
) -> None:
    assert curl("--range", asked, served.url) == film.read_bytes()[first:stop]
    assert served.answered == {206: 1}


def test_curl_resumes(served: Served, film: Path, there: Path) -> None:
    there.write_bytes(film.read_bytes()[: 10 * MIB])
    curl("--continue-at", "-", "--output", str(there), served.url)
    assert there.read_bytes() == film.read_bytes()
    assert served.answered == {206: 1}


def test_curl_resumes_what_is_whole(served: Served, film: Path, there: Path) -> None:
    """It asks for what follows the end, and takes the 416 for what it is."""
    shutil.copy(film, there)
    # Without --fail, with which some releases take the 416 for a failure.
    run("curl", "--silent", "--continue-at", "-", "--output", str(there), served.url)
    assert there.read_bytes() == film.read_bytes()
    assert served.answered == {416: 1}


def test_curl_fetches_several_ranges(served: Served, film: Path) -> None:
    byte_ranges = [(0, 9), (5 * MIB, 6 * MIB), (SIZE_BYTES - 10, SIZE_BYTES - 1)]
    asked = ",".join(f"{first}-{last}" for first, last in byte_ranges)
    head, _, body = curl("--include", "--range", asked, served.url).partition(b"\r\n\r\n")
    (kind,) = re.findall(rb"Content-Type: (multipart/byteranges[^\r]+)", head)
    (length,) = re.findall(rb"Content-Length: ([0-9]+)", head)
    assert int(length) == len(body)
    message = BytesParser().parsebytes(b"Content-Type: " + kind + b"\r\n\r\n" + body)
    data = film.read_bytes()
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part["Content-Range"] for part in parts] == [
        f"bytes {first}-{last}/{SIZE_BYTES}" for first, last in byte_ranges
    ]
    assert [part.get_payload(decode=True) for part in parts] == [
        data[first : last + 1] for first, last in byte_ranges
    ]


def test_curl_asks_only_for_what_is_new(served: Served, film: Path, there: Path) -> None:
    tags = there.with_name("tags")
    curl("--etag-save", str(tags), "--output", str(there), served.url)
    curl("--etag-compare", str(tags), "--output", str(there), served.url)
    curl("--time-cond", str(film), "--output", os.devnull, served.url)
    assert there.read_bytes() == film.read_bytes()
    assert served.answered == {200: 1, 304: 2}


def test_curl_pipelines_on_one_connection(served: Served, film: Path, there: Path) -> None:
    outputs = [there.with_name(f"{number}") for number in range(5)]
    words = [word for path in outputs for word in ("--output", str(path), served.url)]
    said = curl("--write-out", "%{num_connects}", "--range", "5-1000004", *words)
    assert said == b"10000"
    assert {path.read_bytes() for path in outputs} == {film.read_bytes()[5:1_000_005]}


def test_aria2_fetches_on_sixteen_connections(served: Served, film: Path, there: Path) -> None:
    run(
        "aria2c", "--quiet", "--no-conf", "--max-connection-per-server=16", "--split=16",
        "--min-split-size=1M", "--file-allocation=none", f"--dir={there.parent}",
        f"--out={there.name}", served.url,
    )  # fmt: skip
    assert there.read_bytes() == film.read_bytes()
    assert served.answered[206] >= 15


def test_aria2_resumes(served: Served, film: Path, there: Path) -> None:
    there.write_bytes(film.read_bytes()[: 10 * MIB])
    run(
        "aria2c", "--quiet", "--no-conf", "--continue=true", "--file-allocation=none",
        f"--dir={there.parent}", f"--out={there.name}", served.url,
    )  # fmt: skip
    assert there.read_bytes() == film.read_bytes()
    assert set(served.answered) <= {200, 206}
    assert served.answered[206] >= 1


def test_wget_resumes(served: Served, film: Path, there: Path) -> None:
    there.write_bytes(film.read_bytes()[: 10 * MIB])
    run("wget", "--quiet", "--no-config", "--continue", f"--output-document={there}", served.url)
    assert there.read_bytes() == film.read_bytes()
    assert served.answered == {206: 1}


def test_ffprobe_knows_the_film() -> None:
    wanted = ("-count_packets", "-show_format", "-show_streams", "-select_streams", "v")
    with serve(vidnb.sample()) as served:
        told = json.loads(run("ffprobe", "-v", "error", "-of", "json", *wanted, served.url))
    assert float(told["format"]["duration"]) == pytest.approx(10, abs=0.1)
    assert told["streams"][0]["nb_read_packets"] == "300"
    assert int(told["format"]["size"]) == vidnb.sample().stat().st_size


@pytest.mark.parametrize("at_s", [0, 4, 8])
def test_ffmpeg_seeks_to_the_same_picture_as_in_the_file(at_s: int) -> None:
    def picture(source: str) -> bytes:
        return run(
            "ffmpeg", "-v", "error", "-ss", str(at_s), "-i", source, "-frames:v", "1",
            "-f", "rawvideo", "-pix_fmt", "gray", "-",
        )  # fmt: skip

    with serve(vidnb.sample()) as served:
        found = picture(served.url)
    assert len(found) == 640 * 360
    assert found == picture(str(vidnb.sample()))


def notes(url: str) -> list[str]:
    """Return what redbot remarks about an address."""
    said = run("redbot", "--output-format", "text", url).decode()
    return re.findall(r"^  \* (.*)$", said, re.MULTILINE)


# It knows an MP4 by another brand in its first box than the sample's, and says so.
MISTAKEN = {"The content doesn't match the declared Content-Type."}
COMPLAINT = re.compile(
    r"incorrect|invalid|not supported|doesn't|isn't|missing|conflict|bad|problem|fail"
)


def test_redbot_finds_validators_conditions_and_ranges_right() -> None:
    with serve(vidnb.sample()) as served:
        said = notes(served.url)
    for right in (
        "If-None-Match conditional requests are supported.",
        "If-Modified-Since conditional requests are supported.",
        "A ranged request returned the correct partial content.",
        "The Content-Length header is correct.",
    ):
        assert right in said
    assert [note for note in set(said) - MISTAKEN if COMPLAINT.search(note)] == []


def test_redbot_finds_no_fault_with_the_pages(tmp_path: Path) -> None:
    shutil.copy(vidnb.sample(), tmp_path)
    with serve(vidnb.sample()) as served, serve_folder(tmp_path) as folder:
        for url in served.page_url, folder.page_url:
            said = notes(url)
            assert "The Content-Length header is correct." in said
            assert [note for note in said if COMPLAINT.search(note)] == []
