"""The distribution: contents of the wheel, and imports where only its dependencies are installed."""

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.snsqs.conftest import PROJECT, Installation, build

MAX_BYTES = 200_000

# Modules that import the extra packages, by extra.
POSTGRES = ["snsqs.migrations", "snsqs.postgres", "snsqs.testing.postgres"]
PSYCOPG = ["snsqs.psycopg"]
SQLALCHEMY = ["snsqs.sqlalchemy"]
HTTP = ["snsqs.outbox.http"]
PYTEST = ["snsqs.pytest_plugin"]
FASTAPI = ["snsqs.fastapi"]

PUBLIC = """
import importlib, pkgutil, snsqs, sys
for each in pkgutil.walk_packages(snsqs.__path__, "snsqs."):
    names = each.name.split(".")
    if not any(name.startswith("_") for name in names[1:]) and each.name not in sys.argv[1:]:
        importlib.import_module(each.name)
        print(each.name)
"""


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """With the marker of typed packages and the migrations, in less than 200 kB."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    source = PROJECT / "src"
    files = {path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert packed == {path.relative_to(source).as_posix() for path in files}
    assert "snsqs/py.typed" in packed
    assert any(name.startswith("snsqs/migrations/") and name.endswith(".sql") for name in packed)
    assert wheel.stat().st_size <= MAX_BYTES


@pytest.mark.usefixtures("processes")
def test_the_source_distribution_has_the_guide(tmp_path: Path) -> None:
    """With README and sources."""
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "docs/guide.md", "pyproject.toml", "src/snsqs/py.typed"} <= names


def test_the_metadata_name_three_core_dependencies(wheel: Path) -> None:
    """The others belong to the extras."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    required = metadata.get_all("Requires-Dist", [])
    core = {each.partition(">")[0] for each in required if "extra ==" not in each}
    assert core == {"aioboto3", "opentelemetry-api", "pydantic"}
    assert metadata.get_all("Provides-Extra") == ["fastapi", "http", "postgres", "psycopg", "sqlalchemy"]
    assert str(metadata.get_payload()).startswith("# snsqs")


@pytest.mark.parametrize(
    "missing",
    ["asyncpg", "fastapi", "httpx", "opentelemetry.sdk", "psycopg", "shared", "sqlalchemy", "structlog"],
)
def test_other_packages_are_not_in_the_core_installation(
    missing: str, core_installation: Installation, tmp_path: Path
) -> None:
    """Otherwise the tests that run in it would prove nothing."""
    ran = core_installation.run("-c", f"import {missing}", cwd=tmp_path)
    assert "ModuleNotFoundError" in ran.stderr


def test_modules_need_only_their_extras(
    core_installation: Installation, full_installation: Installation, tmp_path: Path
) -> None:
    """All public modules but those of the extras are imported with the core dependencies."""
    extras = {*POSTGRES, *HTTP, *PSYCOPG, *SQLALCHEMY, *PYTEST, *FASTAPI}
    core = core_installation.run("-c", PUBLIC, *extras, cwd=tmp_path)
    assert core.returncode == 0, core.stderr
    every = full_installation.run("-c", PUBLIC, cwd=tmp_path)
    assert every.returncode == 0, every.stderr
    assert set(every.stdout.split()) - set(core.stdout.split()) == extras
