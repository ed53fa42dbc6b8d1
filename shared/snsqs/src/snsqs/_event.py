"""`@event`: the declaration of a class as an event: its name on the wire, aggregate id, version and time."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from snsqs._errors import InvalidEvent
from snsqs._model import MAX_VERSION

C = TypeVar("C")

_MARK = "__snsqs_event__"
_MAX_CHARACTERS = 256
_YEAR_10000 = 253_402_300_800_000

Read = Callable[[Any], Any]
"""Returns the id, version or time of an event."""


@dataclass(frozen=True)
class EventDeclaration:
    """Declaration of an event class, made by `event`: a decorator, or metadata of an `Annotated` type."""

    name: str
    aliases: tuple[str, ...] = ()
    id: str | Read | None = None
    version: str | Read | None = None
    time: str | Read | None = None
    is_default: bool = False
    """Whether it stands until the class is declared explicitly, as that of a DomainEvent."""
    _read_id: Read | None = dataclasses.field(init=False, repr=False, compare=False)
    _read_version: Read | None = dataclasses.field(init=False, repr=False, compare=False)
    _read_time: Read | None = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in self.names:
            if not 0 < len(name) <= _MAX_CHARACTERS or not name.isprintable():
                raise InvalidEvent(
                    f"event type {name!r}: a name has 1 to {_MAX_CHARACTERS} printable characters"
                )
        if len(set(self.names)) < len(self.names):
            raise InvalidEvent(f"event type {self.name!r}: name and aliases must differ: {self.aliases}")
        for parameter in ("id", "version", "time"):
            try:
                read = _reader(getattr(self, parameter))
            except TypeError as error:
                raise InvalidEvent(f"event type {self.name!r}: {parameter} {error}") from None
            object.__setattr__(self, f"_read_{parameter}", read)

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which the event is consumed; it is published under the first."""
        return (self.name, *self.aliases)

    @property
    def has_id(self) -> bool:
        """True when the event declares an id."""
        return self._read_id is not None

    @property
    def has_version(self) -> bool:
        """True when the event declares a version."""
        return self._read_version is not None

    def __call__(self, cls: C) -> C:
        """Mark a class as an event of this declaration. Raises InvalidEvent."""
        if not isinstance(cls, type):
            raise InvalidEvent(
                f"event type {self.name!r}: @event marks classes, not {cls!r}; for another type, write "
                f"Annotated[…, event({self.name!r})]"
            )
        before = vars(cls).get(_MARK)
        if before is not None and not before.is_default:
            raise InvalidEvent(f"{cls.__name__} is declared twice: as {before.name!r} and as {self.name!r}")
        self.validate(cls)
        if before is None:
            mark(cls, self)
        else:
            mark(cls, self._completed(before))
            cls.event_type = self.name  # type: ignore[attr-defined]  # of a DomainEvent
        return cls

    def _completed(self, default: "EventDeclaration") -> "EventDeclaration":
        """Return the declaration with the id, version and time of another where it has none."""
        return dataclasses.replace(
            self,
            id=self.id if self.id is not None else default.id,
            version=self.version if self.version is not None else default.version,
            time=self.time if self.time is not None else default.time,
        )

    def validate(self, kind: Any) -> None:
        """Raise InvalidEvent if an attribute of the declaration is not one of the type."""
        for parameter in ("id", "version", "time"):
            path = getattr(self, parameter)
            if isinstance(path, str):
                _validate_path(kind, path.split("."), f"event type {self.name!r}: {parameter}={path!r}")

    def id_of(self, event: object) -> str:
        """Return the aggregate id, empty if the event has none. Raises InvalidEvent."""
        if self._read_id is None:
            return ""
        value = self._read_id(event)
        if type(value) is not str and isinstance(value, list | tuple | set | Mapping):
            raise InvalidEvent(f"the id of {self.name} must be a string, not {type(value).__name__}")
        subject = "" if value is None else str(value)
        if len(subject) > _MAX_CHARACTERS or not subject.isprintable():
            raise InvalidEvent(
                f"the id of {self.name} must be at most {_MAX_CHARACTERS} characters, and printable, "
                f"not {subject!r:.100}"
            )
        return subject

    def version_of(self, event: object) -> int | None:
        """Return the version of the aggregate, None if the event has none. Raises InvalidEvent."""
        if self._read_version is None:
            return None
        value = self._read_version(event)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_VERSION:
            raise InvalidEvent(f"the version of {self.name} must be 0 to {MAX_VERSION}, not {value!r:.100}")
        return value

    def time_of(self, event: object) -> datetime:
        """Return the time of the event; the present if the event has none. Raises InvalidEvent."""
        value = None if self._read_time is None else self._read_time(event)
        match value:
            case int() if 0 <= value < _YEAR_10000:
                return datetime.fromtimestamp(value / 1_000, UTC)
            case datetime() if value.tzinfo is not None:
                return value
            case None:
                return datetime.now(UTC)
        raise InvalidEvent(
            f"the time of {self.name} must be a datetime with time zone, or milliseconds since the epoch, "
            f"not {value!r:.100}"
        )


def event(
    name: str,
    *,
    id: str | Read | None = None,  # the word of CloudEvents
    version: str | Read | None = None,
    time: str | Read | None = None,
    aliases: Iterable[str] = (),
) -> EventDeclaration:
    """Declare a pydantic model, dataclass or `TypedDict` as an event, next to `DomainEvent`:

        @event("OrderCompleted", id="order_id", version="version")
        class OrderCompleted(BaseModel):
            order_id: str
            version: int

    `id`, `version` and `time` are optional: the name of an attribute or key, a dotted path of them, or a
    function of the event. Id and version are those of the aggregate; the inbox ignores an older version than
    one handled before. An id is converted with `str`, a version is an integer from 0, a time is a datetime
    with time zone or an integer, milliseconds since the epoch.

    A message is published under `name`, such as `OrderCompleted.v2`, and consumed under `name` and `aliases`.
    Subclasses are no events unless they are declared too. A type that is not a class is declared by metadata,
    such as a discriminated union of several payloads of one event type:

        Paid = Annotated[Card | Cash, Field(discriminator="kind"), event("OrderPaid", id="order_id")]

    Raises InvalidEvent for an empty name, a repeated alias, and an attribute that the class does not have.
    """
    names = (aliases,) if isinstance(aliases, str) else tuple(aliases)
    return EventDeclaration(name, names, id, version, time)


def mark(cls: type, declaration: EventDeclaration) -> None:
    """Make the class an event of the declaration."""
    setattr(cls, _MARK, declaration)


def declaration_of(kind: Any) -> EventDeclaration | None:
    """Return the declaration of an event type, or None if the type is not an event."""
    if isinstance(kind, type) and (marked := kind.__dict__.get(_MARK)) is not None:
        return marked if isinstance(marked, EventDeclaration) else None
    if get_origin(kind) is Annotated:
        return next((each for each in kind.__metadata__ if isinstance(each, EventDeclaration)), None)
    cls = get_origin(kind) or kind
    if not isinstance(cls, type):
        return None
    declaration = vars(cls).get(_MARK)
    if declaration is None and (generic := _generic_model(cls)) is not None:
        declaration = vars(generic).get(_MARK)
    return declaration if isinstance(declaration, EventDeclaration) else None


def declared(kind: Any) -> EventDeclaration:
    """Return the declaration of an event type. Raises InvalidEvent if it is not an event."""
    declaration = declaration_of(kind)
    if declaration is None:
        raise InvalidEvent(
            f"{name_of(kind)} is not an event: declare it with @event, or pass the type of the event, "
            "such as a TypedDict or a union"
        )
    return declaration


def name_of(kind: Any) -> str:
    """Return the name of a type, for an error message."""
    if get_origin(kind) is Annotated:
        return name_of(get_args(kind)[0])
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _generic_model(cls: type) -> type | None:
    """Return the generic pydantic model that the class is a parametrisation of."""
    generic: type | None = getattr(cls, "__pydantic_generic_metadata__", {}).get("origin")
    return generic


def _reader(path: str | Read | None) -> Read | None:
    if path is None:
        return None
    if callable(path):
        return path
    if not all(part.isidentifier() for part in path.split(".")):
        raise TypeError(f"must be an attribute, a dotted path or a function, not {path!r}")
    names = path.split(".")

    def read(value: Any) -> Any:
        for name in names:
            if value is None:
                return None
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name)
        return value

    return read


def _validate_path(kind: Any, path: list[str], what: str) -> None:
    """Raise InvalidEvent if a class of the type is known not to have the attribute."""
    if not path:
        return
    if get_origin(kind) in (Union, types.UnionType, Annotated):
        members = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
        for member in members:
            if member is not type(None):
                _validate_path(member, path, what)
        return
    cls = get_origin(kind) or kind
    if not isinstance(cls, type) or not (annotated := _annotations(cls)):
        return
    name, *rest = path
    if name not in annotated and not hasattr(cls, name):
        raise InvalidEvent(f"{what}: {cls.__name__} has no {name!r}; it has {', '.join(annotated)}")
    _validate_path(annotated.get(name), rest, what)


def _annotations(cls: type) -> dict[str, Any]:
    """Annotated attributes of a class, with their types where those can be resolved."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # a name that is defined later, or where the class is used
        return {
            name: None for each in reversed(cls.__mro__) for name in vars(each).get("__annotations__", {})
        }
