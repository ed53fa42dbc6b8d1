"""A user's project with SQLAlchemy and the library: no other code of this repository is on its path."""

import shutil
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.postgres import Postgres
from tests.conftest import fresh_database
from tests.snsqs.conftest import Installation, install
from tests.snsqs.test_typing import MYPY, PYRIGHT, check

PROJECT = Path(__file__).parent / "example_project"


@pytest.fixture
async def empty_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template1") as url:
        yield url


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy outside of this repository."""
    copy = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(copy)


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Environment of the declared dependencies only."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    requirements = [*declared["dependencies"], *declared["optional-dependencies"]["test"]]
    assert requirements[0] == "snsqs[postgres,sqlalchemy]"
    return install(
        tmp_path_factory.mktemp("project") / "venv",
        wheel,
        extras=("postgres", "sqlalchemy"),
        also=requirements[1:],
    )


async def test_the_project_passes_its_tests(
    project: Path, installation: Installation, empty_database: str
) -> None:
    """It publishes through the outbox and consumes through the inbox."""
    ran = installation.run("-m", "pytest", "-q", cwd=project, DATABASE_URL=empty_database)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout


@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_the_project_passes_type_checkers(
    checker: tuple[str, ...], project: Path, installation: Installation
) -> None:
    """Also `mypy --strict`, and its tests."""
    code, output = check(checker, project, "ordering", "tests", installed=installation)
    assert code == 0, output


def test_the_project_has_only_what_it_declares(installation: Installation, tmp_path: Path) -> None:
    """Neither this repository nor other stacks."""
    for name in ("fastapi", "psycopg", "services", "shared", "tests"):
        ran = installation.run("-c", f"import {name}", cwd=tmp_path)
        assert "ModuleNotFoundError" in ran.stderr, name


def test_the_project_uses_the_installed_library(installation: Installation, tmp_path: Path) -> None:
    """Of the wheel, and not the source tree."""
    ran = installation.run("-c", "import snsqs; print(snsqs.__file__)", cwd=tmp_path)
    assert Path(ran.stdout.strip()).is_relative_to(installation.root), ran.stderr
