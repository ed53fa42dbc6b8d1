"""Page of the guarantees: the tests and commands that it names exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
CITED = sorted(set(re.findall(r"`(\w+/\w+\.py)(?:::(\w+))?`", PAGE)))
COMMANDS = sorted(set(re.findall(r"`make (\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "test"), CITED)
def test_a_cited_test_exists(path: str, test: str) -> None:
    """File and function."""
    tree = ast.parse((ROOT / "tests" / path).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in names if test else any(name.startswith("test_") for name in names)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cited_command_exists(command: str) -> None:
    """As a target of the Makefile."""
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_guarantee_has_a_test() -> None:
    """All of G1 to G12, and each row of the other tables."""
    rows = re.findall(r"^\| (?!-|---)(.*) \|$", PAGE, re.MULTILINE)
    assert [row.split(" ")[0] for row in rows if row.startswith("G")] == [f"G{n}" for n in range(1, 13)]
    without = [row for row in rows if ".py" not in row and "`make " not in row]
    assert [row.split(" | ")[-1] for row in without] == [*["tests"] * 6, "what it does"]
