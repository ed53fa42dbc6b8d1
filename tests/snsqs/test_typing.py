"""Types of the installed library, where no stubs of the AWS clients are installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snsqs.conftest import Installation

PROGRAM = Path(__file__).parent / "user_program.py"

MYPY = ("mypy", "--strict", "--config-file=", "--cache-dir=.mypy_cache")
PYRIGHT = ("pyright",)


def check(checker: tuple[str, ...], program: Path, installed: Installation) -> tuple[int, str]:
    """Return exit code and output of a type checker that resolves imports in the installation."""
    option = "--python-executable" if checker == MYPY else "--pythonpath"
    process = subprocess.run(
        [sys.executable, "-m", *checker, option, installed.python, program.name],
        cwd=program.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy outside of this repository, so that the repository's settings do not apply."""
    settings = {
        "typeCheckingMode": "standard",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    return Path(shutil.copy(PROGRAM, tmp_path))


@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_a_users_program_passes_type_checkers(
    checker: tuple[str, ...], program: Path, full_installation: Installation
) -> None:
    """Handlers, middleware, interceptor, generic event and outbox; the two errors that it marks are found."""
    code, output = check(checker, program, full_installation)
    assert code == 0, output
