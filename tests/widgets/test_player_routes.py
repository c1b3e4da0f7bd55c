"""The routes of a player from its host's environment, and bytes over the comm."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from tests.widgets.comm import deliver
from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.server.sample import sample
from vidnb.widgets.player import kernel_bytes
from vidnb.widgets.player.routes import Routes, notebook_host
from vidnb.widgets.player.widget import Player, play

SRT = "1\n00:00:01,000 --> 00:00:02,000\nHello\n"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Jupyter runtime folder, and a kernel that process 4321 has started."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", "4321")
    monkeypatch.delenv("VIDNB_URL_TEMPLATE", raising=False)
    return tmp_path


def test_the_server_root_is_that_of_the_server_that_started_the_kernel(runtime: Path) -> None:
    (runtime / "real").mkdir()
    (runtime / "link").symlink_to("real")
    (runtime / "jpserver-4321.json").write_text(json.dumps({"root_dir": str(runtime / "link")}))
    (runtime / "jpserver-1.json").write_text(json.dumps({"root_dir": "/"}))
    assert notebook_host().server_root == str(runtime / "real")


@pytest.mark.parametrize(
    "info", ["", "[]", "{}", '{"root_dir": 3}', '{"root_dir": "/is/not/there"}', None]
)
def test_without_readable_server_info_there_is_no_server_root(
    runtime: Path, info: str | None
) -> None:
    if info is not None:
        (runtime / "jpserver-4321.json").write_text(info)
    assert notebook_host().server_root == ""


@pytest.mark.parametrize("pid", ["", "x", "-1", "../1"])
def test_a_kernel_without_a_server_has_no_server_root(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, pid: str
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", pid)
    assert notebook_host().server_root == ""


def test_databricks_ids_are_read_from_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "15")
    assert notebook_host().proxies == ()
    tags = {
        "spark.databricks.clusterUsageTags.clusterOwnerOrgId": "123",
        "spark.databricks.clusterUsageTags.clusterId": "1-2-a",
    }
    session = SimpleNamespace(conf=SimpleNamespace(get=tags.get))
    spark = SimpleNamespace(SparkSession=SimpleNamespace(getActiveSession=lambda: session))
    monkeypatch.setitem(sys.modules, "pyspark.sql", spark)
    assert notebook_host().proxies == ("/driver-proxy/o/123/1-2-a/{port}/",)
    spark.SparkSession.getActiveSession = lambda: None
    assert notebook_host().proxies == ()


def test_a_template_of_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDNB_URL_TEMPLATE", "https://host/p/{port}/{path}")
    player = play(sample(), subtitles=SRT)
    for routes in (player.urls, player.tracks[0]["urls"]):
        assert routes[0]["route"] == "template"
        assert routes[0]["url"].startswith("https://host/p/")
    player.close()
    monkeypatch.setenv("VIDNB_URL_TEMPLATE", "https://host/p/")
    with pytest.raises(ValueError, match="VIDNB_URL_TEMPLATE is the URL of a proxy"):
        play(sample())


# The comm


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page has sent its host yet."""
    monkeypatch.setattr(Routes, "_page_hosts", AllowedHosts())


def statuses(player: Player, host: str) -> tuple[int, int]:
    """Return the statuses of the video and of the message endpoint for a host."""
    urls = player.urls[0]["url"], player.urls[0]["endpoint"] + "ping"
    return _status(urls[0], host), _status(urls[1], host)


def _status(url: str, host: str) -> int:
    request = urllib.request.Request(url, method="HEAD", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.usefixtures("no_pages")
def test_a_page_host_is_allowed_over_the_comm_alone() -> None:
    player, other = play(sample(), route="direct"), play(sample(), route="direct")
    message = {"v": 1, "view": "a", "kind": "page_host", "host": "Hub.Example"}
    player._vidnb_handle_message(message)  # as a posted one
    deliver(player, {**message, "v": 2})
    deliver(player, {**message, "host": ["hub.example"]})
    assert statuses(player, "hub.example:8888") == (404, 404)
    deliver(player, message)
    assert statuses(player, "hub.example:8888") == (200, 200)
    assert statuses(player, "evil.example") == (404, 404)
    assert statuses(other, "hub.example") == (404, 404)
    later = play(sample(), route="direct", subtitles=SRT)
    assert statuses(later, "hub.example") == (200, 200)
    assert _status(later.tracks[0]["urls"][0]["url"], "hub.example") == 200
    for made in (player, other, later):
        made.close()


@pytest.mark.usefixtures("no_pages")
def test_the_host_of_a_template_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDNB_URL_TEMPLATE", "https://hub.example/{port}/{path}")
    player = play(sample())
    direct = next(route for route in player.urls if route["route"] == "direct")
    assert _status(direct["url"], "hub.example") == 200
    assert _status(direct["endpoint"] + "ping", "hub.example") == 200
    assert _status(direct["url"], "evil.example") == 404
    player.close()


class Kernel:
    """A page that requests bytes over the comm."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.responses: list[tuple[dict[str, Any], Any]] = []

    def request(self, **content: object) -> tuple[dict[str, Any], bytes | None]:
        message = {
            "v": 1,
            "view": "a",
            "kind": "byte_range",
            "number": 7,
            "resource": "video",
            **content,
        }
        deliver(self.player, message)
        response, buffers = self.responses.pop()
        return response, bytes(buffers[0]) if buffers else None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(sample().read_bytes())
    made = Kernel(play(clip, subtitles=SRT, route="kernel"))
    monkeypatch.setattr(
        Player,
        "send",
        lambda _self, content, buffers=None: made.responses.append((content, buffers)),
    )
    yield made
    made.player.close()


def test_a_page_gets_the_requested_byte_range(kernel: Kernel) -> None:
    data = sample().read_bytes()
    response, byte_range = kernel.request(start=100, stop=1100)
    assert byte_range == data[100:1100]
    tag = response.pop("tag")
    assert response == {
        "v": 1, "kind": "bytes", "view": "a", "number": 7, "start": 100,
        "size_bytes": len(data), "media_type": "video/mp4",
    }  # fmt: skip
    response, byte_range = kernel.request(start=len(data) - 5, stop=len(data) + 100)
    assert (byte_range, response["tag"]) == (data[-5:], tag)
    assert kernel.request(start=len(data) + 5, stop=len(data) + 10)[1] == b""


def test_subtitles_are_sent_over_the_comm_too(kernel: Kernel) -> None:
    (route,) = kernel.player.tracks[0]["urls"]
    response, byte_range = kernel.request(resource=route["resource"], start=0, stop=1000)
    assert response["media_type"] == "text/vtt"
    assert byte_range is not None
    assert byte_range.startswith(b"WEBVTT")


def test_another_file_has_another_tag(kernel: Kernel, tmp_path: Path) -> None:
    before, _ = kernel.request(start=0, stop=10)
    (tmp_path / "clip.mp4").write_bytes(b"another film")
    after, byte_range = kernel.request(start=0, stop=10)
    assert before["tag"] != after["tag"]
    assert byte_range == b"another fi"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"resource": "video-2"}, "no such resource"),
        ({"resource": None}, "no such resource"),
        ({"start": "0"}, "no such resource"),
        ({"start": -1}, "the byte range is invalid"),
        ({"start": 20}, "the byte range is invalid"),
        ({"stop": kernel_bytes.MAX_RANGE_BYTES + 1}, "the byte range is invalid"),
    ],
)
def test_an_invalid_request_has_a_reason(
    kernel: Kernel, content: dict[str, Any], reason: str
) -> None:
    response, byte_range = kernel.request(**{"start": 0, "stop": 10, **content})
    assert reason in response["reason"]
    assert byte_range is None


def test_a_file_that_is_gone_has_a_reason(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").unlink()
    response, byte_range = kernel.request(start=0, stop=10)
    assert response["reason"] == "it cannot be read (No such file or directory)"
    assert byte_range is None


def test_a_posted_request_gets_no_bytes(kernel: Kernel) -> None:
    """Posted messages are handled on a thread of the server, which must not read files."""
    kernel.player._vidnb_handle_message(
        {
            "v": 1,
            "view": "a",
            "kind": "byte_range",
            "number": 7,
            "resource": "video",
            "start": 0,
            "stop": 9,
        }
    )
    assert kernel.responses == []
