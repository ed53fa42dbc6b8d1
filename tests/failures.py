"""Pytest plugin: a failed test shows the end of its log; the whole log is in a file that it names."""

import re
from collections.abc import Generator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / ".local" / "test-logs"

MAX_LINES = 20
"""Shown of each captured section: stdout, stderr and log, of setup, call and teardown."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections = [(name, _shorten(item, name, text)) for name, text in report.sections]
    return report


def _shorten(item: pytest.Item, section: str, text: str) -> str:
    """The last lines of a section, after the path of the file that has all of them."""
    lines = text.splitlines(keepends=True)
    if len(lines) <= MAX_LINES:
        return text
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "-", f"{item.nodeid}-{section}")
    path = FOLDER / f"{name[-200:]}.log"
    path.write_text(text, encoding="utf-8")
    return f"… the last {MAX_LINES} of {len(lines)} lines; all are in {path}\n" + "".join(lines[-MAX_LINES:])
