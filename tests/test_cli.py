"""The command line: standard output, standard error and exit status."""

import os
import shutil
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

ROOT = Path(__file__).parent.parent


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "vidnb", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_url_alone_is_downloaded(tmp_path: Path) -> None:
    with vidnb.serve(vidnb.sample()) as web:
        ran = run(web.url, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"{tmp_path / 'sample.mp4'}\n")
    assert ran.stderr == ""
    assert (tmp_path / "sample.mp4").read_bytes() == vidnb.sample().read_bytes()


def test_get_makes_the_folder_that_it_downloads_into(tmp_path: Path) -> None:
    with vidnb.serve(vidnb.sample()) as web:
        ran = run("get", web.url, "films/", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"{tmp_path / 'films' / 'sample.mp4'}\n")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.org/film.mp4", "fetches only from http and https"),
        ("file:///etc/hostname", "fetches only from http and https"),
        ("http:///film.mp4", "names no host"),
        ("film.mp4", "http"),
    ],
)
def test_an_invalid_url_is_one_sentence(tmp_path: Path, url: str, message: str) -> None:
    ran = run("get", url, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_status_is_named(tmp_path: Path) -> None:
    with vidnb.serve(vidnb.sample()) as web:
        ran = run("get", web.url[:-30] + "nothing.mp4", "film.mp4", cwd=tmp_path)
    assert ran.returncode == 1
    assert "answered 404 Not Found" in ran.stderr
    assert not (tmp_path / "film.mp4").exists()


def test_without_arguments_it_prints_its_help(tmp_path: Path) -> None:
    ran = run(cwd=tmp_path)
    assert ran.returncode == 2
    assert "get" in ran.stdout
    assert "serve" in ran.stdout
    assert "demo" in ran.stdout
    assert run("--version", cwd=tmp_path).stdout.startswith("vidnb ")
    assert run("get", "a", "b", "c", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("command", ["get", "serve", "probe", "sheet", "clip", "convert", "demo"])
def test_the_help_of_a_command_shows_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert f"example: vidnb {command} " in capsys.readouterr().out


def test_it_runs_from_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-m", "vidnb", "--version"]  # -S: no site-packages
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"vidnb {vidnb.__version__}\n", "")


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is a POSIX signal")
def test_serve_prints_its_page_until_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "vidnb", "serve", str(vidnb.sample())]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(address, timeout=DEADLINE_S) as response:
            assert b"<video" in response.read()
        hint = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stderr = process.stderr.read()
        assert process.wait(DEADLINE_S) == 130
    assert "Traceback" not in stderr
    assert "press Ctrl-C to stop" in hint


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is a POSIX signal")
def test_serve_lists_a_folder_on_the_given_host_and_port(tmp_path: Path) -> None:
    (tmp_path / "a film.mp4").write_bytes(vidnb.sample().read_bytes())
    port = free_port()
    options = ["--port", str(port), "--host", "0.0.0.0", "--allow-host", "localhost"]  # noqa: S104 - what is tested
    command = [sys.executable, "-W", "error", "-m", "vidnb", "serve", ".", *options]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        assert address.startswith(f"http://localhost:{port}/")
        with urllib.request.urlopen(address, timeout=DEADLINE_S) as response:
            assert b"a film.mp4" in response.read()
        hint = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stderr = process.stderr.read()
        assert process.wait(DEADLINE_S) == 130
    assert "Anyone who can reach 0.0.0.0 and has this address can watch" in hint
    assert "Traceback" not in stderr


@pytest.mark.parametrize("opens", [True, False])
def test_open_does_not_show_the_address_in_the_arguments_of_the_browser(
    opens: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
    monkeypatch.setattr(cli, "_wait_for_interrupt", interrupt)
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
    monkeypatch.setattr(cli, "_redirect_file", never)
    monkeypatch.setattr(cli, "_wait_for_interrupt", interrupt)
    assert cli.main(["serve", str(vidnb.sample())]) == 130


@pytest.mark.parametrize("port", ["-1", "65536", "http", "", "\u0663"])
def test_an_invalid_port_is_wrong_usage(tmp_path: Path, port: str) -> None:
    ran = run("serve", ".", f"--port={port}", cwd=tmp_path)
    assert ran.returncode == 2
    assert "is not a port number" in ran.stderr


@pytest.mark.parametrize("option", ["--host=http://here", "--allow-host=here:80"])
def test_an_invalid_host_is_one_sentence(tmp_path: Path, option: str) -> None:
    ran = run("serve", ".", option, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "which is not a host" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_serving_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    ran = run("serve", "nothing.mp4", cwd=tmp_path)
    assert ran.returncode == 1
    assert "nothing.mp4" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.fixture
def jupyterlab_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Run in `tmp_path` and record the commands that would replace this process."""
    called: list[list[str]] = []

    def record(command: list[str]) -> int:
        called.append(command)
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_replace_process", record)
    return called


def test_demo_copies_the_notebooks_and_opens_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jupyterlab_calls: list[list[str]]
) -> None:
    """A notebook that the user has changed is not overwritten."""
    assert cli.main(["demo", "--no-browser"]) == 0
    assert jupyterlab_calls[0][1:5] == ["-m", "jupyterlab", "quickstart.ipynb", "--no-browser"]
    names = {path.name for path in Path().iterdir()}
    assert names == {
        "quickstart.ipynb",
        "download.ipynb",
        "serve_and_seek.ipynb",
        "player.ipynb",
        "stream.ipynb",
        "frames.ipynb",
        "any_file.ipynb",
        "many.ipynb",
        "flaky_origin.py",
    }
    Path("quickstart.ipynb").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 0
    assert Path("quickstart.ipynb").read_text() == "mine"


@pytest.mark.usefixtures("jupyterlab_calls")
def test_demo_over_a_file_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("vidnb-demo").write_text("a file")
    assert cli.main(["demo"]) == 1
    stderr = capsys.readouterr().err
    assert "the folder vidnb-demo: it is a file; run vidnb demo in another folder" in stderr
    assert stderr.count("\n") == 1


def test_demo_in_a_read_only_folder_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    jupyterlab_calls: list[list[str]],
) -> None:
    """Root may write everywhere, so the error is simulated."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert cli.main(["demo"]) == 1
    stderr = capsys.readouterr().err
    assert "permission denied; run vidnb demo in another folder" in stderr
    assert stderr.count("\n") == 1
    assert jupyterlab_calls == []


def test_demo_completes_a_copy_that_was_cut_short(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    jupyterlab_calls: list[list[str]],
) -> None:
    """A copy that fails half-way gives one sentence, and the next run does not keep its half."""
    with monkeypatch.context() as disk:

        def copy_half(source: Path, target: Path) -> None:
            target.write_bytes(source.read_bytes()[:100])
            raise OSError(28, "No space left on device")

        disk.setattr(shutil, "copyfile", copy_half)
        assert cli.main(["demo"]) == 1
    assert "no space left on device" in capsys.readouterr().err
    assert cli.main(["demo"]) == 0
    assert len(jupyterlab_calls) == 1
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        assert (tmp_path / "vidnb-demo" / file.name).read_bytes() == file.read_bytes()
    assert not list((tmp_path / "vidnb-demo").glob("*.part"))


def test_demo_makes_writable_copies_of_read_only_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jupyterlab_calls: list[list[str]]
) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    notebook = installed / "quickstart.ipynb"
    notebook.write_text("{}")
    notebook.chmod(0o444)
    monkeypatch.setattr(cli, "_notebooks", lambda: installed)
    assert cli.main(["demo"]) == 0
    assert len(jupyterlab_calls) == 1
    assert (tmp_path / "vidnb-demo" / "quickstart.ipynb").stat().st_mode & 0o200


def test_demo_without_jupyterlab_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert cli.main(["demo"]) == 1
    assert "vidnb[lab]" in capsys.readouterr().err
