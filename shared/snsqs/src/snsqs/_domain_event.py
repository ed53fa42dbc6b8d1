"""Domain events, in the code and on the wire."""

import time
import types
from typing import Any, ClassVar, Union, get_args, get_origin

from pydantic import Field, field_validator

from snsqs._event import EventDeclaration, declaration_of, mark
from snsqs._model import MAX_VERSION, UNSET, WireModel, required_in_json

_YEAR_9999 = 253_370_764_800_000


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Aggregate(WireModel):
    """Identity and version of a published aggregate; the base class of an event's `source`.

    The version grows with every change of the aggregate.
    """

    id: str
    version: int = Field(strict=True, ge=0, le=MAX_VERSION)


class DomainEvent(WireModel):
    """Something that happened: the aggregate after the change, and the time of the change.

    On the wire it is `{"source": {…}, "occurenceOn": 1520393282506}`, spelled as the original system
    spelled it, with nothing added; type, id and version travel beside it as message attributes. A subclass
    narrows `source`: the producer's to its whole aggregate, a consumer's to the fields that it reads.

        class OrderCompleted(DomainEvent):
            source: Order

    An event may be generic: `class Changed(DomainEvent, Generic[T])` with `source: T`. Each
    parametrisation is an event type of its own.
    """

    event_type: ClassVar[str]
    """Logical name on the wire: the class's name, unless the class body assigns another.

    `Changed[Order]` is named `Changed[Order]`, without modules. A name in the body of a generic event is
    the name of all its parametrisations; other subclasses do not inherit it. `@event` declares a name with
    aliases, and may declare another id or version.
    """

    source: Aggregate
    occurence_on: int = Field(
        default_factory=lambda: UNSET, validate_default=True, strict=True, ge=0, lt=_YEAR_9999
    )
    """Milliseconds since the epoch. Required in JSON; an event made in Python has the present time."""

    _default_time = field_validator("occurence_on", mode="before")(required_in_json(_milliseconds))

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        generic = declaration_of(cls.__pydantic_generic_metadata__["origin"])
        if "event_type" in cls.__dict__:
            mark(cls, _declaration(cls.event_type))
        elif generic is not None and not generic.is_default:
            cls.event_type = generic.name
            mark(cls, generic)
        else:
            cls.event_type = cls.__name__
            mark(cls, _declaration(cls.event_type, is_default=True))

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name of a parametrisation of a generic event, such as `Changed[Order]`."""
        return f"{cls.__name__}[{', '.join(map(_type_name, params))}]"


def _declaration(name: str, *, is_default: bool = False) -> EventDeclaration:
    return EventDeclaration(name, (), _id, _version, _time, is_default=is_default)


def _id(event: DomainEvent) -> str:
    return event.source.id


def _version(event: DomainEvent) -> int:
    return event.source.version


def _time(event: DomainEvent) -> int:
    return event.occurence_on


def _type_name(kind: Any) -> str:
    """The name of a type as it is written in an annotation, without modules."""
    arguments = [_type_name(each) for each in get_args(kind)]
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " | ".join(arguments)
    name: str = getattr(origin or kind, "__name__", None) or repr(kind)
    return f"{name}[{', '.join(arguments)}]" if arguments else name
