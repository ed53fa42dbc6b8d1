"""The public API of the library, compared with `public_api.txt`.

A change of the listing is a change for users: see it in the diff, and note it in the changelog. Renew it with
`python -m tests.snsqs.test_public_api`.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import snsqs
from pydantic import BaseModel

ROOT = Path(__file__).parent.parent.parent
LISTING = Path(__file__).parent / "public_api.txt"

USERS = ("services", "shared", "local", "benchmarks", "deploy", "journey", "tests")
"""Folders whose code uses the library."""


def public_modules() -> Iterator[ModuleType]:
    """Yield the modules without a leading underscore in their path."""
    yield snsqs
    for each in pkgutil.walk_packages(snsqs.__path__, "snsqs."):
        if not any(part.startswith("_") for part in each.name.split(".")):
            yield importlib.import_module(each.name)


def listing() -> str:
    """Return a line for each public name and each public member of a class."""
    lines = [
        line
        for module in public_modules()
        for name in sorted(module.__all__)
        for line in _describe(f"{module.__name__}.{name}", getattr(module, name))
    ]
    return "\n".join(lines) + "\n"


def _describe(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        is_protocol = getattr(value, "_is_protocol", False)
        yield f"{path} {'protocol' if is_protocol else f'class{_signature(value)}'}"
        yield from _members(path, value)
    elif inspect.isfunction(function := inspect.unwrap(value)):
        for each in typing.get_overloads(function) or [function]:
            yield f"{path} {_kind(function)}{_signature(each)}"
    else:
        yield f"{path} = {_without_modules(repr(value))}"


def _members(path: str, owner: type) -> Iterator[str]:
    """Yield methods and properties that the class, or a base class in the library, defines."""
    members = {
        name: member
        for base in reversed(owner.__mro__)
        if base.__module__.startswith("snsqs")
        for name, member in vars(base).items()
        if name == "__call__" or not (name.startswith("_") or hasattr(BaseModel, name))
    }
    for name, member in sorted(members.items()):
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(member, property):
            yield f"{path}.{name} property{_signature(member.fget, returns_only=True)}"
        elif inspect.isfunction(function):
            yield f"{path}.{name} {_kind(function)}{_signature(function)}"


def _kind(function: object) -> str:
    return "coroutine" if inspect.iscoroutinefunction(function) else "function"


def _signature(value: Any, *, returns_only: bool = False) -> str:
    try:
        signature = inspect.signature(value)
    except ValueError:  # of an exception, which has the constructor of BaseException
        return ""
    text = str(signature).rpartition(")")[2] if returns_only else str(signature)
    return _without_modules(text)


def _without_modules(text: str) -> str:
    """Return the text without modules and memory addresses, which are no part of the API."""
    return re.sub(r"\b(?:\w+\.)+(?=[A-Za-z_])| at 0x[0-9a-f]+", "", text)


def private_imports(folder: Path) -> Iterator[str]:
    """Yield the imports of modules or names of the library that begin with an underscore."""
    for path in sorted(folder.rglob("*.py")):
        if path.is_relative_to(ROOT / "shared" / "snsqs"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _imported(node):
                parts = name.split(".")
                if parts[0] == "snsqs" and any(_is_private(part) for part in parts):
                    yield f"{path}: {name}"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{each.name}" for each in node.names]
    return [each.name for each in node.names] if isinstance(node, ast.Import) else []


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_the_public_api_is_the_listed_one() -> None:
    """Names, kinds and signatures; a difference is a change for users."""
    assert listing().splitlines() == LISTING.read_text().splitlines(), f"renew it with python -m {__name__}"


def test_all_names_are_sorted_and_documented() -> None:
    """Classes and functions have docstrings, which stand alone in an API reference."""
    for module in public_modules():
        assert module.__all__ == sorted(module.__all__, key=_sorting_key), module.__name__
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) or inspect.isfunction(value):
                assert inspect.getdoc(value), f"{module.__name__}.{name}"


def _sorting_key(name: str) -> tuple[int, str]:
    """Constants, classes, functions, each by name, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_private_modules_are_not_imported_outside_of_the_library() -> None:
    """Neither by services and chassis nor by tests."""
    assert [each for folder in USERS for each in private_imports(ROOT / folder)] == []


def test_a_private_import_is_found(tmp_path: Path) -> None:
    """In every spelling of an import."""
    (tmp_path / "user.py").write_text(
        "import snsqs._model\nfrom snsqs import _model, Message\nfrom snsqs._model import WireModel\n"
        "from snsqs.topology.__main__ import main\n"
    )
    assert len(list(private_imports(tmp_path))) == 3


if __name__ == "__main__":
    LISTING.write_text(listing())
