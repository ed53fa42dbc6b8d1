"""Types of the installed library, where no stubs of the AWS clients are installed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snsqs.conftest import Installation
from tests.snsqs.pages import FILE, GUIDE, PAGES, README, python

PROGRAM = Path(__file__).parent / "user_program.py"

MYPY = ("mypy", "--strict", "--config-file=", "--cache-dir=.mypy_cache")
PYRIGHT = ("pyright",)


def check(checker: tuple[str, ...], folder: Path, *targets: str, installed: Installation) -> tuple[int, str]:
    """Return exit code and output of a type checker that resolves imports in the installation."""
    option = "--python-executable" if checker == MYPY else "--pythonpath"
    process = subprocess.run(
        [sys.executable, "-m", *checker, option, installed.python, *targets],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder outside of this repository, so that the repository's settings do not apply."""
    settings = {
        "typeCheckingMode": "standard",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    return tmp_path


def write_examples(folder: Path) -> list[str]:
    """Write the code blocks of each page as one module, on the same lines as in the page, and the files of
    the guide. Return their names."""
    modules = {f"{page.stem.lower().replace('-', '_')}.py": page for page in (README, *PAGES)}
    for name, page in modules.items():
        (folder / name).write_text(python(page.read_text()))
    for name, code in FILE.findall(GUIDE.read_text()):
        (folder / name).write_text(code)
        modules[name] = GUIDE
    return sorted(modules)


@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_a_users_program_passes_type_checkers(
    checker: tuple[str, ...], folder: Path, full_installation: Installation
) -> None:
    """Handlers, middleware, interceptor, generic event and outbox; the two errors that it marks are found."""
    shutil.copy(PROGRAM, folder)
    code, output = check(checker, folder, PROGRAM.name, installed=full_installation)
    assert code == 0, output


@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_the_examples_of_the_documentation_pass_type_checkers(
    checker: tuple[str, ...], folder: Path, full_installation: Installation
) -> None:
    """Every code block of every page and of the README; an error has the line in the page."""
    names = write_examples(folder)
    assert {"billing.py", "test_billing.py", "readme.py", "handlers.py"} <= set(names)
    (folder / "wrong.py").write_text(python("# Wrong\n\n```python\ncount: int = 'one'\n```\n"))
    code, output = check(checker, folder, *names, "wrong.py", installed=full_installation)
    assert code == 1

    errors = re.findall(r"^ *(\S+\.py):(\d+):.* error", output, re.MULTILINE)
    assert [(Path(name).name, line) for name, line in errors] == [("wrong.py", "4")], output
