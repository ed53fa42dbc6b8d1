"""Pytest plugin: marks every test `fast` that starts no process, and fails one that starts one after all."""

import sys
from collections.abc import Iterator

import pytest

_PROCESS_EVENTS = frozenset(
    {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
)
"""Audit events of the interpreter: https://docs.python.org/3/library/audit_events.html"""

_guarded: pytest.Item | None = None
"""The fast test that is being set up or called."""


@pytest.fixture(scope="session")
def processes() -> None:
    """Permission to start processes. Requested by every fixture that starts one, and by the tests that start
    one themselves. A parameter of a fixture cannot request it, and has the marker of the same name."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fast: starts no process; set automatically, see tests/fast.py")
    config.addinivalue_line("markers", "processes: starts processes; for the parameters of fixtures")
    sys.addaudithook(_refuse_processes)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by `-m fast`
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not _needs_processes(item):
            item.add_marker("fast")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    yield from _guard(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from _guard(item)


def _needs_processes(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    return "processes" in item.fixturenames or item.get_closest_marker("processes") is not None


def _guard(item: pytest.Item) -> Iterator[None]:
    """Not applied to the teardown, which may end fixtures that other tests have requested."""
    global _guarded
    _guarded = item if item.get_closest_marker("fast") else None
    try:
        yield
    finally:
        _guarded = None


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    if _guarded is not None and event in _PROCESS_EVENTS:
        pytest.fail(f"{_guarded.nodeid} starts a process ({event}): request the fixture `processes`")
