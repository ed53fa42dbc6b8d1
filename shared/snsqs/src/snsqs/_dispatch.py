"""The handlers of a Binding as one MessageHandler, inside middleware."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from snsqs._binding import Binding
from snsqs._errors import (
    ListenerMisconfigured,
    RetryAfter,
    TerminalError,
    Unavailable,
    as_exception,
)
from snsqs._handler import Delivery, MessageHandler, Middleware
from snsqs._message import Message
from snsqs._threads import HandlerThreads


def message_handler(
    binding: Binding, middleware: Sequence[Middleware] = (), threads: HandlerThreads | None = None
) -> MessageHandler:
    """Return the binding's handlers as one MessageHandler inside its middleware, the first one outermost.

    Each delivery goes to the function that handles the type of its messages, a `def` in one of the threads.
    Raises ListenerMisconfigured when a function has a parameter that no middleware provides.
    """
    _validate_dependencies(binding, middleware)
    threads = threads or HandlerThreads()

    async def dispatch(delivery: Delivery) -> None:
        handler = binding.handler_for(delivery.message)
        try:
            await handler.call(delivery, threads)
        except asyncio.CancelledError:
            raise
        except BaseException as raised:
            error = as_exception(_representative(raised))
            with suppress(TypeError):  # `__notes__` was set to something else than a list
                error.add_note(f"raised by {handler.name}")
            if error is raised:
                raise
            raise error from raised
        for message in delivery.messages:
            delivery.outcomes[message.id] = "handled"

    handle: MessageHandler = dispatch
    for layer in reversed(middleware):
        handle = _wrap(layer, handle, binding)
    return handle


def _validate_dependencies(binding: Binding, middleware: Sequence[Middleware]) -> None:
    for layer in middleware:
        _validate_middleware(layer, binding.queue)
    provided = {kind for layer in middleware for kind in layer.provides}
    for handler in binding.handlers.values():
        for parameter in handler.dependencies:
            if parameter.kind not in provided:
                raise ListenerMisconfigured(
                    f"{handler.name} takes {parameter.name} of type {parameter.type_name}, which no "
                    "middleware provides; add the middleware, or remove the parameter"
                )


def _validate_middleware(layer: object, queue: str) -> None:
    if isinstance(layer, type) or not callable(layer) or not hasattr(layer, "provides"):
        raise ListenerMisconfigured(
            f"{queue}: {layer!r} is no middleware; pass an object with `provides` and "
            "`async def __call__(self, delivery, proceed)`"
        )


def _representative(error: BaseException) -> BaseException:
    """Return the error that decides about the message: if all errors of a task group are TerminalError,
    RetryAfter or Unavailable, the first one of the first of these types. Return any other error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    _, others = error.split((TerminalError, RetryAfter, Unavailable))
    if others is not None:
        return error
    first: BaseException = error.subgroup(TerminalError) or error.subgroup(RetryAfter) or error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _wrap(layer: Middleware, inner: MessageHandler, binding: Binding) -> MessageHandler:
    """Return the handler inside a middleware. A message that the middleware replaces, such as by one with a
    fetched payload, gets subject and version of its event too, which the layers inside may depend on."""

    async def handle(delivery: Delivery) -> None:
        try:
            await layer(delivery, _identifying(inner, binding, delivery.messages))
        except asyncio.CancelledError:
            raise
        except BaseException as raised:
            error = as_exception(raised)
            if error is raised:
                raise
            raise error from raised

    return handle


def _identifying(inner: MessageHandler, binding: Binding, known: Sequence[Message[str]]) -> MessageHandler:
    async def handle(delivery: Delivery) -> None:
        if not {*map(id, delivery.messages)} <= {*map(id, known)}:
            delivery = delivery.only([binding.with_identity(message) for message in delivery.messages])
        await inner(delivery)

    return handle
