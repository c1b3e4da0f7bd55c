"""The unit tests run on the other supported Python versions that are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.assets import unit_test_python
from tests.deadline import DEADLINE_S

ROOT = Path(__file__).parent.parent
UNIT = ("tests/http", "tests/media", "tests/planner", "tests/test_public_api.py")


# The whole suite runs on one version; of the others, the newest is in the default tier.
@pytest.mark.parametrize(
    "version", [*(pytest.param(v, marks=pytest.mark.slow) for v in ("3.12", "3.13")), "3.14"]
)
def test_the_unit_tests_pass_on_python(version: str) -> None:
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip("the whole suite runs on this version")
    python = shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"python{version} is not installed")
    options = ["-o", "addopts=--import-mode=importlib -m 'not slow'", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    completed = subprocess.run(
        [str(unit_test_python(python)), "-m", "pytest", "-q", *options, *UNIT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=5 * DEADLINE_S,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    print(completed.stdout.splitlines()[-1])
