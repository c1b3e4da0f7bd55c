"""The command line, as a person calls it: what it prints, where, and its exit status."""

import os
import signal
import subprocess
import sys
import urllib.request
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import vidnb
from tests.deadline import DEADLINE_S
from tests.network import free_port
from vidnb import cli


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "vidnb", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_url_alone_is_downloaded(tmp_path: Path) -> None:
    """The seed's main: one URL, the path on standard output, status 0."""
    with vidnb.serve(vidnb.sample()) as web:
        ran = run(web.url, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"{tmp_path / 'sample.mp4'}\n")
    assert ran.stderr == ""
    assert (tmp_path / "sample.mp4").read_bytes() == vidnb.sample().read_bytes()


def test_get_into_a_folder(tmp_path: Path) -> None:
    """`vidnb get URL PATH` makes the folder."""
    with vidnb.serve(vidnb.sample()) as web:
        ran = run("get", web.url, "films/", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"{tmp_path / 'films' / 'sample.mp4'}\n")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.org/film.mp4", "fetches only from http and https"),
        ("file:///etc/hostname", "fetches only from http and https"),
        ("http:///film.mp4", "names no host"),
        ("film.mp4", "http"),
    ],
)
def test_a_bad_address_is_one_sentence(tmp_path: Path, url: str, said: str) -> None:
    """Standard error has one line, standard output nothing, the status is 1."""
    ran = run("get", url, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    """A 404 is told with its number."""
    with vidnb.serve(vidnb.sample()) as web:
        ran = run("get", web.url[:-30] + "nothing.mp4", "film.mp4", cwd=tmp_path)
    assert ran.returncode == 1
    assert "answered 404 Not Found" in ran.stderr
    assert not (tmp_path / "film.mp4").exists()


def test_without_words_it_explains_itself(tmp_path: Path) -> None:
    """Help, and the status of a call that makes no sense."""
    ran = run(cwd=tmp_path)
    assert ran.returncode == 2
    assert "get" in ran.stdout
    assert "serve" in ran.stdout
    assert "demo" in ran.stdout
    assert run("--version", cwd=tmp_path).stdout.startswith("vidnb ")
    assert run("get", "a", "b", "c", cwd=tmp_path).returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is sent as POSIX does")
def test_serve_prints_its_page_until_interrupted(tmp_path: Path) -> None:
    """The page's address comes on standard output; Ctrl-C ends it without a traceback."""
    command = [sys.executable, "-W", "error", "-m", "vidnb", "serve", str(vidnb.sample())]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(address, timeout=DEADLINE_S) as answer:
            assert b"<video" in answer.read()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(DEADLINE_S) == 130
    assert "Traceback" not in said
    assert "Ctrl-C ends it" in said


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is sent as POSIX does")
def test_serve_lists_a_folder_on_the_host_and_port_asked_for(tmp_path: Path) -> None:
    """A folder is one page; who else may reach it is said on standard error."""
    (tmp_path / "a film.mp4").write_bytes(vidnb.sample().read_bytes())
    port = free_port()
    options = ["--port", str(port), "--host", "0.0.0.0", "--allow-host", "localhost"]  # noqa: S104 - what is tried
    command = [sys.executable, "-W", "error", "-m", "vidnb", "serve", ".", *options]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        assert address.startswith(f"http://localhost:{port}/")
        with urllib.request.urlopen(address, timeout=DEADLINE_S) as answer:
            assert b"a film.mp4" in answer.read()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(DEADLINE_S) == 130
    assert "Whoever reaches 0.0.0.0 and has this address can watch" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("opens", [True, False])
def test_open_leads_a_browser_there_without_telling_the_machine(
    opens: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The browser is called with a private file: other users see what it is called with."""
    called: list[str] = []
    pages: list[str] = []
    modes: list[int] = []

    def open_browser(address: str) -> bool:
        file = Path(urllib.request.url2pathname(urlsplit(address).path))
        called.append(address)
        pages.append(file.read_text())
        modes.append(file.parent.stat().st_mode & 0o777)
        return opens

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", open_browser)
    monkeypatch.setattr(cli, "_wait", interrupt)
    assert cli.main(["serve", str(vidnb.sample()), "--open"]) == 130
    printed = capsys.readouterr()
    address = printed.out.strip()
    assert len(called) == 1
    assert called[0].startswith("file:///")
    assert urlsplit(address).path.strip("/") not in called[0]
    assert f'<meta http-equiv="refresh" content="0; url={address}">' in pages[0]
    assert modes == [0o700]
    assert not Path(urlsplit(called[0]).path).exists()
    assert ("Open this address in a browser" in printed.err) is not opens


def test_no_browser_is_opened_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: str) -> bool:
        raise AssertionError

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", never)
    monkeypatch.setattr(cli, "_doorway", never)
    monkeypatch.setattr(cli, "_wait", interrupt)
    assert cli.main(["serve", str(vidnb.sample())]) == 130


@pytest.mark.parametrize("port", ["-1", "65536", "http", "", "\u0663"])
def test_a_senseless_port_is_a_call_that_makes_no_sense(tmp_path: Path, port: str) -> None:
    ran = run("serve", ".", f"--port={port}", cwd=tmp_path)
    assert ran.returncode == 2
    assert "is no port" in ran.stderr


@pytest.mark.parametrize("option", ["--host=http://here", "--allow-host=here:80"])
def test_a_senseless_host_is_one_sentence(tmp_path: Path, option: str) -> None:
    ran = run("serve", ".", option, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "which is no host" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_serve_of_nothing_is_one_sentence(tmp_path: Path) -> None:
    """A missing file is told at once."""
    ran = run("serve", "nothing.mp4", cwd=tmp_path)
    assert ran.returncode == 1
    assert "nothing.mp4" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_demo_copies_the_notebooks_and_opens_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebooks become the person's own; a changed one is not overwritten."""
    monkeypatch.chdir(tmp_path)
    called: list[list[str]] = []

    def hand_over(command: list[str]) -> int:
        called.append(command)
        return 0

    monkeypatch.setattr(cli, "_hand_over", hand_over)
    assert cli.main(["demo", "--no-browser"]) == 0
    assert called[0][1:5] == ["-m", "jupyterlab", "quickstart.ipynb", "--no-browser"]
    names = {path.name for path in Path().iterdir()}
    assert names == {
        "quickstart.ipynb",
        "download.ipynb",
        "serve_and_seek.ipynb",
        "player.ipynb",
        "stream.ipynb",
        "flaky_origin.py",
    }
    Path("quickstart.ipynb").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 0
    assert Path("quickstart.ipynb").read_text() == "mine"


def test_demo_without_jupyterlab_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing extra is one sentence."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert cli.main(["demo"]) == 1
    assert "vidnb[lab]" in capsys.readouterr().err
