"""The unit tests on other interpreters than this one, where they are found."""

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
        [str(unit_test_python(python)), "-m", "pytest", "-q", *plain, *UNIT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=5 * DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    print(ran.stdout.splitlines()[-1])
