"""The library as another project has it: built as a wheel, installed into environments of their own."""

import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

collect_ignore = ["example_project"]  # runs in an environment of its own

PROJECT = Path(__file__).parent.parent.parent / "shared" / "snsqs"


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel, its dependencies and nothing else."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    def run(self, *arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the environment's Python in `cwd`, with none of this process's environment variables."""
        return subprocess.run(
            [self.python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def wheel(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source tree."""
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def build(target: str, folder: Path) -> Path:
    """Build the distribution (`wheel` or `sdist`) into an empty folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="session")
def core_installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`pip install snsqs`."""
    return install(tmp_path_factory.mktemp("core") / "venv", wheel, extras=())


@pytest.fixture(scope="session")
def full_installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`pip install snsqs[http,postgres,psycopg,sqlalchemy] fastapi psycopg[binary] pytest pytest-asyncio`."""
    return install(
        tmp_path_factory.mktemp("full") / "venv",
        wheel,
        extras=("http", "postgres", "psycopg", "sqlalchemy"),
        also=["fastapi", "psycopg[binary]", "pytest", "pytest-asyncio"],
    )


def install(root: Path, wheel: Path, *, extras: Iterable[str], also: Iterable[str] = ()) -> Installation:
    """Make an environment: unpack the wheel, and link what its metadata requires from the one that runs the
    tests.

    Resolving the same from a package index takes a minute and a network.
    """
    venv.create(root, with_pip=False)
    [packages] = root.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        required = Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist", [])
    for each in _closure([*_needed(required, extras), *map(Requirement, also)]):
        _link(each, packages)
    return Installation(root)


def _link(package: Distribution, packages: Path) -> None:
    """Link the top-level modules of a distribution; of a namespace package those below it, because other
    distributions share it."""
    for file in package.files or ():
        if ".." in file.parts or file.parts[0] == "__pycache__":
            continue
        source = Path(str(package.locate_file("")))
        depth = 1 if len(file.parts) == 1 or (source / file.parts[0] / "__init__.py").exists() else 2
        link = Path(*file.parts[:depth])
        if not (packages / link).exists():
            (packages / link).parent.mkdir(exist_ok=True)
            (packages / link).symlink_to(source / link)


def _closure(requirements: Iterable[Requirement]) -> list[Distribution]:
    """The distributions that the requirements lead to."""
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        key = (requirement.name, frozenset(requirement.extras))
        if key not in found:
            found[key] = distribution(requirement.name)
            waiting.extend(_needed(found[key].requires or [], requirement.extras))
    return list(found.values())


def _needed(required: Iterable[str], extras: Iterable[str]) -> list[Requirement]:
    """The requirements whose markers hold here."""
    parsed = [Requirement(each) for each in required]
    environments = [{"extra": extra} for extra in ("", *extras)]
    return [
        each
        for each in parsed
        if each.marker is None or any(each.marker.evaluate(environment) for environment in environments)
    ]
