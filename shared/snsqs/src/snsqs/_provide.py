"""Middleware that provides a resource for each delivery, opened and closed by a context manager."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from snsqs._arguments import require_opener
from snsqs._handler import Delivery, MessageHandler, Middleware

T = TypeVar("T")


def provide(kind: type[T], factory: Callable[[Delivery], AbstractAsyncContextManager[T]]) -> Middleware:
    """Return a middleware that fills handler parameters of type `kind` with the value of a context manager:

        @asynccontextmanager
        async def session(delivery: Delivery) -> AsyncIterator[Session]:
            async with Session(engine) as opened, opened.begin():
                yield opened

        ListenerContainer(topology, binding, middleware=[provide(Session, session)])

    It is entered for each delivery, also if the handler has no such parameter, and again for each try after
    `Unavailable`. Its exit receives the error of the handler. Errors of enter and exit are errors of the
    message. An exit that suppresses the error of the handler does not make the message handled. Raises
    ListenerMisconfigured for a factory without @asynccontextmanager.
    """
    require_opener(factory, f"provide({getattr(kind, '__name__', kind)})")
    return _Provider(kind, factory)


class _Provider(Generic[T]):
    def __init__(self, kind: type[T], factory: Callable[[Delivery], AbstractAsyncContextManager[T]]) -> None:
        self.provides: tuple[type, ...] = (kind,)
        self._kind = kind
        self._factory = factory

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        suppressed: BaseException | None = None
        async with self._factory(delivery) as value:
            try:
                await proceed(delivery.providing(self._kind, value))
            except BaseException as error:  # also a CancelledError
                suppressed = error
                raise
        if suppressed is not None:
            raise suppressed
