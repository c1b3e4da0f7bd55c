"""The unit tests on other interpreters than this one, where they are found."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.assets import CACHE
from tests.deadline import DEADLINE_S

ROOT = Path(__file__).parent.parent
TOOLS = ("blockbuster", "hypothesis", "pytest")
UNIT = ("tests/core", "tests/test_public_api.py")


def installed(python: str) -> Path:
    """Return the interpreter of a venv with vidnb's dependencies and what the unit tests need.

    It is made once for each state of pyproject.toml, outside of the repository.
    """
    declared = (ROOT / "pyproject.toml").read_bytes()
    project = tomllib.loads(declared.decode())["project"]
    tools = [
        one for one in project["optional-dependencies"]["test"] if one.partition(">")[0] in TOOLS
    ]
    assert len(tools) == len(TOOLS)
    name = hashlib.sha256(declared).hexdigest()[:12]
    folder = CACHE / f"{Path(python).name}-{name}"
    if not folder.is_dir():
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        subprocess.run([python, "-m", "venv", str(fresh)], check=True, timeout=DEADLINE_S)
        pip = [str(fresh / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *project["dependencies"], *tools], check=True, timeout=5 * DEADLINE_S)
        fresh.replace(folder)
    return folder / "bin" / "python"


# The newest one differs most from the oldest, on which everything runs.
@pytest.mark.parametrize(
    "version", [*(pytest.param(v, marks=pytest.mark.slow) for v in ("3.12", "3.13")), "3.14"]
)
def test_the_unit_tests_pass_on(version: str) -> None:
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip("it runs all the tests")
    python = shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"there is no python{version} on this machine")
    plain = ["-o", "addopts=--import-mode=importlib -m 'not slow'", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    ran = subprocess.run(
        [str(installed(python)), "-m", "pytest", "-q", *plain, *UNIT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=5 * DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    print(ran.stdout.splitlines()[-1])
