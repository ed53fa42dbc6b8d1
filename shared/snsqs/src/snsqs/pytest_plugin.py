"""Pytest plugin: the fixture `memory_broker` and the markers `memory_broker` and `virtual_clock`.

pytest loads it where `snsqs` is installed; nothing has to be configured:

    @pytest.mark.virtual_clock
    async def test_a_completed_order_is_billed(memory_broker: MemoryBroker) -> None:
        memory_broker.listen(on_order_completed)
        await memory_broker.publish(OrderCompleted(source=order))
        await memory_broker.join()
        assert memory_broker.handled(OrderCompleted)

The arguments of the marker `memory_broker` are those of the broker:

    @pytest.mark.memory_broker(settings=QueueSettings(max_receive_count=2))
    async def test_an_invalid_order_is_received_twice(memory_broker: MemoryBroker) -> None: ...

A test on the virtual clock needs no other plugin. Coroutine tests without that marker need pytest-asyncio or
anyio; their time passes as usual, as it must in a test with a database.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from snsqs.testing import MemoryBroker

__all__: list[str] = []  # pytest finds fixtures and hooks by name

_CLOCK = "virtual_clock"
_BROKER = "memory_broker"


@pytest.fixture
def memory_broker(request: pytest.FixtureRequest) -> "MemoryBroker":
    """A MemoryBroker for one coroutine test, with the arguments of its markers `memory_broker`; those of the
    nearest marker take precedence. At the end of the test its listeners are stopped."""
    from snsqs.testing import Faults, MemoryBroker

    arguments: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(_BROKER))):
        arguments |= mark.kwargs
    if isinstance(faults := arguments.get("faults"), Faults):
        arguments["faults"] = replace(faults)  # begins with its seed again, whichever tests ran before
    return MemoryBroker(**arguments)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers", f"{_CLOCK}: run the coroutine on an event loop whose time jumps to the next timer (snsqs)"
    )
    config.addinivalue_line(
        "markers", f"{_BROKER}(settings, faults, middleware): arguments of the fixture {_BROKER} (snsqs)"
    )


@pytest.hookimpl(trylast=True)  # after the plugins that run coroutines
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Replace coroutine tests that are marked so by functions that run them on a virtual clock."""
    for item in items:
        _validate_broker_marks(item)
    items[:] = [_on_virtual_clock(item) if item.get_closest_marker(_CLOCK) else item for item in items]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Open and close brokers on the event loop of the test, whichever plugin provides it."""
    if not isinstance(item, pytest.Function) or _BROKER not in item.fixturenames:
        return
    if inspect.iscoroutinefunction(item.obj):
        item.obj = _closing_brokers(item.obj)


def _validate_broker_marks(item: pytest.Item) -> None:
    if any(mark.args for mark in item.iter_markers(_BROKER)):
        raise pytest.UsageError(f"{item.nodeid}: the marker {_BROKER} takes keyword arguments only")
    is_on_test = any(mark.name == _BROKER for mark in item.own_markers)
    if is_on_test and _BROKER not in getattr(item, "fixturenames", ()):
        raise pytest.UsageError(
            f"{item.nodeid}: the marker {_BROKER} has no effect without the fixture {_BROKER}"
        )


def _on_virtual_clock(item: pytest.Item) -> pytest.Item:
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        raise pytest.UsageError(f"{item.nodeid}: the marker {_CLOCK} is for `async def` tests")
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
