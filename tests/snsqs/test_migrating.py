"""Page on migrating: every name of this library in its tables is public API."""

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.snsqs.pages import DOCS
from tests.snsqs.test_public_api import public_modules

PAGE = DOCS / "migrating.md"
ROW = re.compile(r"^\| (?!there \||---)(.+?) \| (.*?) \| (.*?) ?\|$", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")

MODULES = {module.__name__: module for module in public_modules()}
NAMES = {name: getattr(module, name) for module in MODULES.values() for name in module.__all__}
PLACEHOLDERS = {
    *("Event", "Session", "binding", "channel", "clients", "event", "handlers", "interceptor"),
    *("list", "open_session", "options", "sqs", "topology"),
}
"""Names that a user's program defines, and builtins."""


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall(PAGE.read_text())


def spans() -> list[str]:
    """The code of the second column."""
    return [span for _, here, _ in rows() for span in SPAN.findall(here)]


def unknown(code: str) -> list[str]:
    """Return the names and parameters in the code that are not public API."""
    if code.startswith("python -m "):
        module, *_ = code.removeprefix("python -m ").split()
        return [] if module in MODULES and importlib.util.find_spec(f"{module}.__main__") else [module]
    tree = ast.parse(code.removeprefix("@").replace("…", "..."))
    return [text for node in ast.walk(tree) for text in _unknown(node)]


def _unknown(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and node.id not in {*NAMES, *PLACEHOLDERS, "snsqs"}:
        yield node.id
    elif isinstance(node, ast.Attribute) and _value(node) is None:
        yield ast.unparse(node)
    elif isinstance(node, ast.Call) and node.keywords:
        parameters = inspect.signature(_value(node.func)).parameters
        if isinstance(node.func, ast.Attribute) and node.func.attr == "copy":
            parameters = inspect.signature(_value(node.func.value)).parameters  # changes of its fields
        yield from (f"{each.arg}=" for each in node.keywords if each.arg not in parameters)


def _value(node: ast.expr) -> Any:
    """Return the object that an expression stands for; True for a field without a default, None for no
    object."""
    if isinstance(node, ast.Name):
        return MODULES["snsqs"] if node.id == "snsqs" else NAMES.get(node.id)
    assert isinstance(node, ast.Attribute)
    owner = _value(node.value)
    if inspect.ismodule(owner):
        public = {name: getattr(owner, name) for name in owner.__all__}
        return MODULES.get(f"{owner.__name__}.{node.attr}", public.get(node.attr))
    return getattr(owner, node.attr, True if node.attr in getattr(owner, "__annotations__", ()) else None)


def test_every_library_has_its_table() -> None:
    """Of more than a few rows."""
    _, *sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    names = [section.partition("\n")[0] for section in sections]
    assert names == ["Spring Cloud AWS", "Celery", "FastStream", "taskiq", "boto3 and aioboto3"]
    assert all(len(ROW.findall(section)) >= 20 for section in sections)


@pytest.mark.parametrize("code", sorted(set(spans())))
def test_names_of_this_library_are_public_api(code: str) -> None:
    """With their attributes, and the parameters that are given."""
    assert unknown(code) == []


@pytest.mark.parametrize("here", [here for _, here, _ in rows() if not SPAN.search(here)])
def test_a_row_without_code_says_so(here: str) -> None:
    """With a dash, or a sentence."""
    assert here in ("\N{EN DASH}", "one function per type, selected by its annotation")


@pytest.mark.parametrize(
    "code",
    [
        "Nack",
        "ListenerOptions(prefetch=1)",
        "Message.ack",
        "Message.copy(colour=1)",
        "snsqs.flask",
        "snsqs.fastapi.Nothing",
        "python -m snsqs.redrive",
        "_consumer",
    ],
)
def test_a_name_that_does_not_exist_is_found(code: str) -> None:
    """In every form of the tables."""
    assert len(unknown(code)) == 1
