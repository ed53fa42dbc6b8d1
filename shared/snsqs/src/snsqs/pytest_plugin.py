"""Pytest plugin: the fixture `memory_broker` and the marker `virtual_clock`.

pytest loads it where `snsqs` is installed; nothing has to be configured:

    @pytest.mark.virtual_clock
    async def test_a_completed_order_is_billed(memory_broker: MemoryBroker) -> None:
        memory_broker.listen(on_order_completed)
        await memory_broker.publish(OrderCompleted(source=order))
        await memory_broker.join()
        assert memory_broker.handled(OrderCompleted)

A marked test needs no other plugin. Coroutine tests without the marker need pytest-asyncio or anyio; their
time passes as usual, as it must in a test with a database.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from snsqs.testing import MemoryBroker

__all__: list[str] = []  # pytest finds fixtures and hooks by name

_MARKER = "virtual_clock"


@pytest.fixture
def memory_broker() -> "MemoryBroker":
    """A MemoryBroker for one coroutine test. At the end of the test its listeners are stopped."""
    from snsqs.testing import MemoryBroker

    return MemoryBroker()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", f"{_MARKER}: run the coroutine on an event loop whose time jumps to the next timer (snsqs)"
    )


@pytest.hookimpl(trylast=True)  # after the plugins that run coroutines
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Replace marked coroutine tests by functions that run them on a virtual clock."""
    items[:] = [_on_virtual_clock(item) if item.get_closest_marker(_MARKER) else item for item in items]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Open and close brokers on the event loop of the test, whichever plugin provides it."""
    if not isinstance(item, pytest.Function) or "memory_broker" not in item.fixturenames:
        return
    if inspect.iscoroutinefunction(item.obj):
        item.obj = _closing_brokers(item.obj)


def _on_virtual_clock(item: pytest.Item) -> pytest.Item:
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        raise pytest.UsageError(f"{item.nodeid}: the marker {_MARKER} is for `async def` tests")
    run: pytest.Function = pytest.Function.from_parent(
        item.parent,
        name=item.name,
        callspec=getattr(item, "callspec", None),
        callobj=_synchronous(_closing_brokers(item.obj)),
        fixtureinfo=item._fixtureinfo,
        originalname=item.originalname,
    )
    return run


def _closing_brokers(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    from snsqs.testing import MemoryBroker

    @functools.wraps(test)
    async def run(**arguments: Any) -> None:
        async with AsyncExitStack() as stack:
            for value in arguments.values():
                if isinstance(value, MemoryBroker):
                    await stack.enter_async_context(value)
            await test(**arguments)

    return run


def _synchronous(test: Callable[..., Any]) -> Callable[..., None]:
    from snsqs.testing import run_on_virtual_clock

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        run_on_virtual_clock(test(**arguments))

    return run
