"""Validation of arguments whose mistakes would otherwise appear with the first message."""

import inspect
from typing import Any

from snsqs._errors import ListenerMisconfigured


def require_instance(value: object, kind: type, argument: str) -> None:
    """Raise ListenerMisconfigured unless a value is None or an object of the class."""
    if value is not None and not isinstance(value, kind):
        raise ListenerMisconfigured(f"{argument} is {value!r}; set an object of {kind.__name__}")


def require_converter(value: object, argument: str) -> None:
    """Raise ListenerMisconfigured unless a value is None or a MessageConverter, and not its class."""
    if value is not None and (isinstance(value, type) or not hasattr(value, "from_message")):
        raise ListenerMisconfigured(f"{argument} is {value!r}; set an object of a MessageConverter")


def require_opener(function: Any, argument: str) -> None:
    """Raise ListenerMisconfigured unless a function may return an asynchronous context manager."""
    if not callable(function):
        raise ListenerMisconfigured(f"{argument} is {function!r}; set a function that opens it")
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        raise ListenerMisconfigured(
            f"{argument}: {function.__qualname__} returns no asynchronous context manager; decorate an "
            "`async def` that yields once with @asynccontextmanager"
        )
