"""The wheel is complete and works without the source tree."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHECK = """
import asyncio, pathlib, sys
import vidnb
assert "site-packages" in vidnb.__file__ or "installed" in vidnb.__file__, vidnb.__file__
with vidnb.serve(vidnb.sample()) as web:
    result = vidnb.download(web.url, "film.mp4")
    assert asyncio.run(vidnb.save_video_from_url(web.url, "again.mp4")) == pathlib.Path("again.mp4")
    assert vidnb.get_video_data("again.mp4") == result.path.read_bytes()
player = vidnb.play("film.mp4")
assert "export" in str(player._esm), "player.js is missing"
player.close()
from vidnb.cli import _notebooks
assert (_notebooks() / "quickstart.ipynb").is_file(), "the notebooks are missing"
print("works", vidnb.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    ran = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_has_the_package_the_notebooks_the_licence_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vidnb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    notebooks = {f"vidnb/_notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks <= names
    others = {name for name in names - package if not name.startswith("vidnb/_notebooks/")}
    assert all(".dist-info/" in name for name in others), others


def test_the_installed_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", str(installed), str(wheel)], check=True)
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("works")
    assert ran.stderr == ""
