"""What this process says of its surroundings, and the bytes it gives by the kernel's channel."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.assets import converted_sample
from tests.deadline import DEADLINE_S
from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.server.sample import sample
from vidnb.widgets.player import kernel_bytes
from vidnb.widgets.player.files import Routes
from vidnb.widgets.player.notebook_host import this_host
from vidnb.widgets.player.widget import Player, play

SRT = "1\n00:00:01,000 --> 00:00:02,000\nHello\n"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Jupyter runtime folder, and a kernel that process 4321 has started."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", "4321")
    monkeypatch.delenv("VIDNB_URL_TEMPLATE", raising=False)
    return tmp_path


def test_the_servers_folder_is_that_of_the_server_that_started_the_kernel(runtime: Path) -> None:
    (runtime / "real").mkdir()
    (runtime / "link").symlink_to("real")
    (runtime / "jpserver-4321.json").write_text(json.dumps({"root_dir": str(runtime / "link")}))
    (runtime / "jpserver-1.json").write_text(json.dumps({"root_dir": "/"}))
    assert this_host().server_root == str(runtime / "real")


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"root_dir": 3}', '{"root_dir": "/is/not/there"}', None]
)
def test_without_a_note_of_it_there_is_no_folder(runtime: Path, note: str | None) -> None:
    if note is not None:
        (runtime / "jpserver-4321.json").write_text(note)
    assert this_host().server_root == ""


@pytest.mark.parametrize("pid", ["", "x", "-1", "../1"])
def test_a_kernel_that_was_started_otherwise_has_none(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, pid: str
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", pid)
    assert this_host().server_root == ""


def test_databricks_is_asked_through_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "15")
    assert this_host().proxies == ()
    tags = {
        "spark.databricks.clusterUsageTags.clusterOwnerOrgId": "123",
        "spark.databricks.clusterUsageTags.clusterId": "1-2-a",
    }
    session = SimpleNamespace(conf=SimpleNamespace(get=tags.get))
    spark = SimpleNamespace(SparkSession=SimpleNamespace(getActiveSession=lambda: session))
    monkeypatch.setitem(sys.modules, "pyspark.sql", spark)
    assert this_host().proxies == ("/driver-proxy/o/123/1-2-a/{port}/",)
    spark.SparkSession.getActiveSession = lambda: None
    assert this_host().proxies == ()


def test_a_template_of_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDNB_URL_TEMPLATE", "https://host/p/{port}/{path}")
    player = play(sample(), subtitles=SRT)
    for roads in (player.urls, player.tracks[0]["urls"]):
        assert roads[0]["route"] == "template"
        assert roads[0]["url"].startswith("https://host/p/")
    player.close()
    monkeypatch.setenv("VIDNB_URL_TEMPLATE", "https://host/p/")
    with pytest.raises(ValueError, match="VIDNB_URL_TEMPLATE is the URL of a proxy"):
        play(sample())


# The kernel's channel


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page has told its name yet."""
    monkeypatch.setattr(Routes, "_pages", AllowedHosts())


def asked(player: Player, host: str) -> tuple[int, int]:
    """Return the statuses of the video and of the mailbox under a name."""
    urls = player.urls[0]["url"], player.urls[0]["box"] + "ping"
    return _status(urls[0], host), _status(urls[1], host)


def _status(url: str, host: str) -> int:
    request = urllib.request.Request(url, method="HEAD", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.usefixtures("no_pages")
def test_a_page_tells_its_name_by_the_kernels_channel_and_by_it_alone() -> None:
    player, other = play(sample(), route="direct"), play(sample(), route="direct")
    told = {"v": 1, "view": "a", "kind": "name", "name": "Hub.Example"}
    player._vidnb_hear(told)  # as a letter in the mailbox is heard
    player._handle_custom_msg({**told, "v": 2}, [])
    player._handle_custom_msg({**told, "name": ["hub.example"]}, [])
    assert asked(player, "hub.example:8888") == (404, 404)
    player._handle_custom_msg(told, [])
    assert asked(player, "hub.example:8888") == (200, 200)
    assert asked(player, "evil.example") == (404, 404)
    assert asked(other, "hub.example") == (404, 404)
    later = play(sample(), route="direct", subtitles=SRT)
    assert asked(later, "hub.example") == (200, 200)
    assert _status(later.tracks[0]["urls"][0]["url"], "hub.example") == 200
    for made in (player, other, later):
        made.close()


@pytest.mark.usefixtures("no_pages")
def test_the_host_of_an_address_that_a_person_named_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VIDNB_URL_TEMPLATE", "https://hub.example/{port}/{path}")
    player = play(sample())
    direct = next(road for road in player.urls if road["route"] == "direct")
    assert _status(direct["url"], "hub.example") == 200
    assert _status(direct["box"] + "ping", "hub.example") == 200
    assert _status(direct["url"], "evil.example") == 404
    player.close()


class Kernel:
    """A page that asks by the kernel's channel."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.answers: list[tuple[dict[str, Any], Any]] = []

    def ask(self, **content: object) -> tuple[dict[str, Any], bytes | None]:
        message = {"v": 1, "view": "a", "kind": "span", "number": 7, "of": "video", **content}
        self.player._handle_custom_msg(message, [])
        answer, buffers = self.answers.pop()
        return answer, bytes(buffers[0]) if buffers else None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(sample().read_bytes())
    made = Kernel(play(clip, subtitles=SRT, route="kernel"))
    monkeypatch.setattr(
        Player, "send", lambda _self, content, buffers=None: made.answers.append((content, buffers))
    )
    yield made
    made.player.close()


def test_a_page_gets_the_span_it_asks_for(kernel: Kernel) -> None:
    data = sample().read_bytes()
    answer, byte_range = kernel.ask(start=100, stop=1100)
    assert byte_range == data[100:1100]
    tag = answer.pop("tag")
    assert answer == {
        "v": 1, "kind": "bytes", "view": "a", "number": 7, "start": 100,
        "size_bytes": len(data), "media_type": "video/mp4",
    }  # fmt: skip
    answer, byte_range = kernel.ask(start=len(data) - 5, stop=len(data) + 100)
    assert (byte_range, answer["tag"]) == (data[-5:], tag)
    assert kernel.ask(start=len(data) + 5, stop=len(data) + 10)[1] == b""


def test_subtitles_come_this_way_too(kernel: Kernel) -> None:
    (road,) = kernel.player.tracks[0]["urls"]
    answer, byte_range = kernel.ask(of=road["of"], start=0, stop=1000)
    assert answer["media_type"] == "text/vtt"
    assert byte_range is not None
    assert byte_range.startswith(b"WEBVTT")


def test_another_file_has_another_tag(kernel: Kernel, tmp_path: Path) -> None:
    before, _ = kernel.ask(start=0, stop=10)
    (tmp_path / "clip.mp4").write_bytes(b"another film")
    after, byte_range = kernel.ask(start=0, stop=10)
    assert before["tag"] != after["tag"]
    assert byte_range == b"another fi"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"of": "video-2"}, "nothing of this name"),
        ({"of": None}, "nothing of this name"),
        ({"start": "0"}, "nothing of this name"),
        ({"start": -1}, "that span is none"),
        ({"start": 20}, "that span is none"),
        ({"stop": kernel_bytes.MAX_RANGE_BYTES + 1}, "that span is none"),
    ],
)
def test_what_cannot_be_given_has_a_reason(
    kernel: Kernel, asked: dict[str, Any], reason: str
) -> None:
    answer, byte_range = kernel.ask(**{"start": 0, "stop": 10, **asked})
    assert reason in answer["reason"]
    assert byte_range is None


def test_a_file_that_is_gone_has_a_reason(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").unlink()
    answer, byte_range = kernel.ask(start=0, stop=10)
    assert answer["reason"] == "it cannot be read (No such file or directory)"
    assert byte_range is None


def test_a_page_is_told_how_to_play_a_file_in_pieces(kernel: Kernel, tmp_path: Path) -> None:
    answer, byte_range = kernel.ask(kind="outline")
    assert (answer["kind"], answer["outline"], byte_range) == ("outline", None, None)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(converted_sample("vp9-opus.webm").read_bytes())
    answer, _ = kernel.ask(kind="outline")
    assert answer["size_bytes"] == clip.stat().st_size
    assert answer["tag"] == kernel.ask(start=0, stop=10)[0]["tag"]
    outline = answer["outline"]
    assert outline["mime"] == 'video/webm; codecs="vp9,opus"'
    assert outline["duration_s"] == pytest.approx(10, abs=0.1)
    for _, offset in outline["index"]:
        assert kernel.ask(start=offset, stop=offset + 4)[1] == b"\x1f\x43\xb6\x75"
    json.dumps(answer)


def test_an_outline_that_cannot_be_had_has_a_reason(kernel: Kernel, tmp_path: Path) -> None:
    assert "nothing of this name" in kernel.ask(kind="outline", of="video-2")[0]["reason"]
    (tmp_path / "clip.mp4").unlink()
    assert "No such file" in kernel.ask(kind="outline")[0]["reason"]


def test_who_posts_gets_no_bytes(kernel: Kernel) -> None:
    """What comes by HTTP is heard on the server's thread, where nothing may wait."""
    kernel.player._vidnb_hear(
        {"v": 1, "view": "a", "kind": "span", "number": 7, "of": "video", "start": 0, "stop": 9}
    )
    assert kernel.answers == []
