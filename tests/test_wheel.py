"""The wheel works without the source tree, and holds what the source tree has."""

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


def test_the_wheel_holds_everything(wheel: Path) -> None:
    """Every file of the package, the notebooks, the licence; nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vidnb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= names
    assert "vidnb/_notebooks/quickstart.ipynb" in names
    others = {name for name in names - ours if not name.startswith("vidnb/_notebooks/")}
    assert all(".dist-info/" in name for name in others), others


def test_the_wheel_works_alone(wheel: Path, tmp_path: Path) -> None:
    """Installed into a folder of its own, away from the checkout, it does the main job."""
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
