"""Declarations of handlers: each works as it reads, or is an error at start."""

import functools
import sys
import typing
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, NewType, Optional, TypeAlias, TypeVar, Union, cast

import pytest
from snsqs import (
    Aggregate,
    Binding,
    ChannelMisconfigured,
    Delivery,
    DomainEvent,
    InterceptedChannel,
    ListenerMisconfigured,
    ListenerOptions,
    Message,
    MessageOutcome,
    bindings,
    message_of,
    provide,
    sqs_listener,
)
from snsqs.aws_lambda import LambdaHandler
from snsqs.converters import S3Converter
from snsqs.fastapi import Messaging
from snsqs.testing import MemoryBroker, run_on_virtual_clock
from snsqs.tracing import Tracing
from typing_extensions import TypeAliasType

from tests.snsqs.queues import QUEUE, TOPIC, Painted, Sold, listener

PAINTED = Painted(source=Aggregate(id="1", version=1), occurence_on=1)
SOLD = Sold(source=Aggregate(id="2", version=1), occurence_on=1)

Either: TypeAlias = Painted | Sold
EitherStatement = TypeAliasType("EitherStatement", Painted | Sold)
Batch = TypeAliasType("Batch", list[EitherStatement])
Text = TypeAliasType("Text", Message[str])
Coloured = NewType("Coloured", Painted)
P = TypeVar("P", bound=Painted)


class PaintedAgain(DomainEvent):
    """Another class with the type name of Painted."""

    event_type = "Painted"
    source: Aggregate


received: list[Any] = []


def record(event: Any) -> None:
    received.extend(event if isinstance(event, list) else [event])


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


class Service:
    @listener
    async def method(self, event: Either) -> None:
        record(event)

    @staticmethod
    @listener
    async def static(event: Either) -> None:
        record(event)

    @classmethod
    @listener
    async def of_class(cls, event: Either) -> None:
        record(event)


@listener
async def with_alias(event: Either) -> None:
    record(event)


@listener
async def with_alias_statement(event: EitherStatement, message: Text) -> None:
    assert isinstance(message.payload, str)
    record(event)


@listener
async def with_old_union(event: Union[Painted, Sold]) -> None:  # noqa: UP007
    record(event)


@listener
async def with_metadata(event: Annotated[Annotated[Painted, "red"] | Sold, "event"]) -> None:
    record(event)


@listener
async def with_list(events: list[Either]) -> None:
    assert isinstance(events, list)
    record(events)


@listener
async def with_batch_alias(events: Annotated[Batch, "all"]) -> None:
    assert isinstance(events, list)
    record(events)


@listener
async def with_sequence(events: Sequence[Either]) -> None:
    record(list(events))


@listener
async def with_typing_sequence(events: typing.Sequence[Either]) -> None:
    record(list(events))


@listener
def in_a_thread(event: Either) -> None:
    record(event)


@listener
async def keyword_only(*, message: Message, delivery: Delivery, event: Either) -> None:  # type: ignore[type-arg]
    assert delivery.message is message
    record(event)


@listener
async def positional_only(event: Either, message: Message[Any], /) -> None:
    record(event)


@listener
@counted
async def decorated_below(event: Either, *, delivery: Delivery) -> None:
    record(event)


@counted
@listener
async def decorated_above(event: Either) -> None:
    record(event)


@sqs_listener("other-queue", topic="other-topic")
@listener
async def marked_twice(event: Either) -> None:
    record(event)


@listener  # type: ignore[type-var]
async def returns_a_value(event: Either) -> str:
    record(event)
    return "handled"


WORKING = [
    with_alias,
    with_alias_statement,
    with_old_union,
    with_metadata,
    with_list,
    with_batch_alias,
    with_sequence,
    with_typing_sequence,
    in_a_thread,
    keyword_only,
    positional_only,
    decorated_below,
    decorated_above,
    marked_twice,
    returns_a_value,
    Service().method,
    Service.static,
    Service.of_class,
]

if sys.version_info >= (3, 12):
    exec(
        "type Statement = Painted | Sold\n"
        "type Events = list[Statement]\n"
        "@listener\n"
        "async def with_type_statement(events: Events) -> None:\n"
        "    record(events)\n"
    )
    WORKING.append(globals()["with_type_statement"])


@pytest.mark.parametrize("handler", WORKING, ids=lambda handler: handler.__name__)
def test_a_declaration_works(handler: Callable[..., Any]) -> None:
    """It receives each event once, as an object of its class."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            await broker.topic(TOPIC).send([message_of(PAINTED), message_of(SOLD)])
            await broker.join()

    received.clear()
    run_on_virtual_clock(scenario())
    assert sorted(received, key=lambda event: event.source.id) == [PAINTED, SOLD]


async def generator(event: Painted) -> AsyncIterator[None]:
    yield


def synchronous_generator(event: Painted) -> Iterator[None]:
    yield


@functools.wraps(with_alias)
async def generator_around(event: Painted) -> AsyncIterator[None]:
    yield


async def variable(event: Painted, *others: Delivery) -> None: ...


async def unresolved(event: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821


async def optional(event: Painted | None) -> None: ...


async def old_optional(event: Optional[Painted]) -> None: ...  # noqa: UP045


async def optional_resource(event: Painted, delivery: Delivery | None = None) -> None: ...


async def optional_in_batch(events: list[Painted | None]) -> None: ...


async def with_other_member(event: Painted | str) -> None: ...


async def one_or_several(event: Painted | list[Sold]) -> None: ...


async def two_batches(event: list[Painted] | list[Sold]) -> None: ...


async def batch_of_batches(event: list[list[Painted]]) -> None: ...


async def a_tuple(event: tuple[Painted, ...]) -> None: ...


async def a_collection(event: Collection[Painted]) -> None: ...


async def bare_list(event: list) -> None: ...  # type: ignore[type-arg]


async def anything(event: Any) -> None: ...


async def any_object(event: object) -> None: ...


async def any_event(event: DomainEvent) -> None: ...


async def a_dict(event: dict[str, Any]) -> None: ...


async def a_type(event: type[Painted]) -> None: ...


async def a_new_type(event: Coloured) -> None: ...


async def a_type_variable(event: P) -> None: ...


async def no_parameters() -> None: ...


async def typed_message(event: Painted, message: Message[Painted]) -> None: ...


async def message_only(message: Message[Painted]) -> None: ...


async def two_events(event: Painted, other: Sold) -> None: ...


async def one_event_twice(event: Painted, other: Painted) -> None: ...


async def one_name_twice(event: Painted | PaintedAgain) -> None: ...


async def with_default(event: Painted, flag: bool = False) -> None: ...


async def unannotated(event: Painted, other) -> None: ...  # type: ignore[no-untyped-def]


NO_EVENT = "takes no event: annotate a parameter with a DomainEvent"
GENERATOR = "is a generator, whose body would never run; remove `yield`"
OTHER_MEMBERS = "takes a union of events with other members: "


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (generator, GENERATOR),
        (synchronous_generator, GENERATOR),
        (generator_around, GENERATOR),
        (variable, "takes *others: "),
        (unresolved, ": its annotations cannot be resolved: name 'Missing' is not defined"),
        (optional, OTHER_MEMBERS + "[<class 'NoneType'>]; remove them"),
        (old_optional, OTHER_MEMBERS),
        (
            optional_resource,
            "takes delivery of type snsqs._handler.Delivery | None, but a parameter is always",
        ),
        (optional_in_batch, OTHER_MEMBERS),
        (with_other_member, OTHER_MEMBERS + "[<class 'str'>]"),
        (one_or_several, OTHER_MEMBERS + "[list["),
        (two_batches, NO_EVENT),
        (batch_of_batches, NO_EVENT),
        (a_tuple, NO_EVENT),
        (a_collection, NO_EVENT),
        (bare_list, NO_EVENT),
        (anything, NO_EVENT),
        (any_object, NO_EVENT),
        (any_event, NO_EVENT),
        (a_dict, NO_EVENT),
        (a_type, NO_EVENT),
        (a_new_type, NO_EVENT),
        (a_type_variable, NO_EVENT),
        (no_parameters, NO_EVENT),
        (
            typed_message,
            "takes message of type snsqs._message.Message[tests.snsqs.queues.Painted], but a payload",
        ),
        (message_only, NO_EVENT),
        (two_events, "takes several events; for several types, use a union"),
        (one_event_twice, "takes several events"),
        (one_name_twice, "which are both consumed as 'Painted'; give one of them another type name"),
        (with_default, "takes flag of type bool, which no middleware provides; add the middleware"),
        (unannotated, "has no annotation of other; parameters are filled by type"),
        (Service.method, "has no annotation of self"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_declaration_that_cannot_work_is_an_error_at_start(
    function: Callable[..., Any], reason: str
) -> None:
    """Which names handler, parameter and remedy; no message is received."""
    handler = function if function is Service.method else listener(function)

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)

    with pytest.raises(ListenerMisconfigured) as raised:
        run_on_virtual_clock(scenario())
    assert str(raised.value).startswith(f"{handler.__module__}.{handler.__qualname__}")
    assert reason in str(raised.value)


class Callable_:  # noqa: N801
    async def __call__(self, event: Painted) -> None: ...


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (lambda: listener(Callable_()), "@sqs_listener marks functions and methods, not <"),
        (lambda: listener(functools.partial(with_alias, SOLD)), "not functools.partial("),
        (lambda: listener(Callable_), "not <class"),  # type: ignore[type-var]
        (lambda: listener(staticmethod(with_alias)), "not <staticmethod("),
        (lambda: sqs_listener(with_alias), "@sqs_listener: queue is <function with_alias"),  # type: ignore[arg-type]
        (lambda: sqs_listener([]), "@sqs_listener: queue is []; set a name, URL or ARN"),
        (lambda: sqs_listener(None), "@sqs_listener: queue is None; set a name, URL or ARN"),  # type: ignore[arg-type]
        (
            lambda: sqs_listener(QUEUE, topic=()),
            "topic is (); set a name or ARN, or several of them, or leave it",
        ),
        (lambda: sqs_listener(QUEUE, topic=""), "topic is ''; set a name or ARN"),
        (lambda: bindings([Callable_()]), "is not marked @sqs_listener"),
        (lambda: bindings([with_alias, with_alias]), "with_alias is named twice for test-queue"),
    ],
    ids=range(11),
)
def test_a_wrong_use_of_the_decorator_is_an_error(mark: Callable[[], Any], reason: str) -> None:
    """At import, or at start."""
    with pytest.raises(ListenerMisconfigured) as raised:
        mark()
    assert reason in str(raised.value)


async def observe(outcome: MessageOutcome) -> None: ...


@asynccontextmanager
async def resource(delivery: Delivery) -> AsyncIterator[str]:
    yield ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"observer": observe}, "the observer observe is a coroutine function, whose body would never run"),
        ({"observer": "print"}, "the observer is 'print'; set a function of a MessageOutcome"),
        ({"options": {"max_concurrency": 1}}, "test-queue: options is {'max_concurrency': 1}; set an object"),
        ({"middleware": [Tracing]}, "<class 'snsqs.tracing.Tracing'> is no middleware; pass an object with"),
        ({"middleware": [resource]}, "is no middleware; pass an object with `provides`"),
    ],
)
def test_what_is_called_around_a_handler_is_validated_too(arguments: dict[str, Any], reason: str) -> None:
    """Otherwise it would have no effect, or fail with every message."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(with_alias, **arguments)

    with pytest.raises(ListenerMisconfigured) as raised:
        run_on_virtual_clock(scenario())
    assert reason in str(raised.value)


async def opener(delivery: Delivery) -> AsyncIterator[str]:  # without @asynccontextmanager
    yield ""


async def coroutine() -> Any: ...


def declared(**arguments: Any) -> list[Binding]:
    @sqs_listener(QUEUE, topic=TOPIC, **arguments)
    async def handler(event: Painted) -> None: ...

    return bindings([handler])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: declared(converter=S3Converter),
            "@sqs_listener: converter is <class 'snsqs.converters.S3Converter'>; set an object of a Message",
        ),
        (
            lambda: declared(settings={"visibility": 60}),
            "@sqs_listener: settings is {'visibility': 60}; set an object of QueueSettings",
        ),
        (
            lambda: declared(options=ListenerOptions),
            "@sqs_listener: options is <class 'snsqs._options.ListenerOptions'>; set an object of Listener",
        ),
        (
            lambda: bindings([with_alias], settings={QUEUE: cast("Any", {"visibility": 60})}),
            "settings of test-queue is {'visibility': 60}; set an object of QueueSettings",
        ),
        (
            lambda: bindings([with_alias], rename=lambda name: cast("Any", None)),
            "rename('test-topic') returns None; return a name, URL or ARN",
        ),
        (
            lambda: provide(str, cast("Any", opener)),
            "provide(str): opener returns no asynchronous context manager; decorate",
        ),
        (lambda: provide(str, cast("Any", None)), "provide(str) is None; set a function that opens it"),
        (
            lambda: LambdaHandler([with_alias], middleware=cast("Any", coroutine)),
            "LambdaHandler: middleware: coroutine returns no asynchronous context manager",
        ),
        (
            lambda: LambdaHandler([with_alias], topology=cast("Any", coroutine)),
            "LambdaHandler: topology: coroutine returns no asynchronous context manager",
        ),
        (
            lambda: LambdaHandler([with_alias], options=cast("Any", {"max_concurrency": 1})),
            "LambdaHandler: options is {'max_concurrency': 1}; set an object of ListenerOptions",
        ),
        (
            lambda: Messaging(cast("Any", coroutine)),
            "Messaging: coroutine returns no asynchronous context manager",
        ),
        (
            lambda: MemoryBroker(faults=cast("Any", {"delay": 1})),
            "MemoryBroker: faults is {'delay': 1}; set an object of Faults",
        ),
        (
            lambda: InterceptedChannel(MemoryBroker().topic(TOPIC), cast("Any", Tracing)),
            "<class 'snsqs.tracing.Tracing'> is no interceptor; pass an `async def`",
        ),
    ],
    ids=range(13),
)
def test_an_argument_of_another_kind_is_an_error(make: Callable[[], Any], reason: str) -> None:
    """At the declaration, and not with the first message."""
    with pytest.raises((ListenerMisconfigured, ChannelMisconfigured)) as raised:
        make()
    assert reason in str(raised.value)


def test_a_provided_type_is_found_by_its_annotation() -> None:
    """Also through an alias."""
    seen: list[str] = []

    @asynccontextmanager
    async def session(delivery: Delivery) -> AsyncIterator[Service]:
        yield Service()

    @listener
    async def handler(event: Painted, service: Annotated[Service, "of the request"]) -> None:
        seen.append(type(service).__name__)

    async def scenario() -> None:
        async with MemoryBroker(middleware=[provide(Service, session)]) as broker:
            broker.listen(handler, options=ListenerOptions(max_concurrency=1))
            await broker.publish(PAINTED)
            await broker.join()

    run_on_virtual_clock(scenario())
    assert seen == ["Service"]
