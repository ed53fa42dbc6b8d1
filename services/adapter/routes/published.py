"""Published: the schema of what may leave of an event type's aggregate."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

_FIELD = re.compile(r"[A-Za-z_]\w*(\[\])?(\.[A-Za-z_]\w*(\[\])?)*", re.ASCII)


class Kind(Enum):
    PLAIN = "a plain value"
    """Text, a number, true, false or null: never an object or a list, which could hold anything."""
    ANY = "anything"
    """What is not known before an event is there; no schema has it."""


@dataclass(frozen=True)
class ListOf:
    item: "Shape"


Shape: TypeAlias = "Kind | ListOf | dict[str, Shape]"
"""What a value looks like; a dictionary is an object with these fields and no others."""


class NotPublished(Exception):
    """An aggregate has something else in a published field than the schema says. The message names the
    field and has no value in it."""


@dataclass(frozen=True)
class Published:
    """What may leave of one event type, as the file lists it: `id`, `orderLines[].sku`, `tags[]`."""

    fields: Sequence[str]
    shape: dict[str, Shape]

    @classmethod
    def of(cls, fields: object) -> "Published":
        """Raises ValueError, which names the field that makes no sense."""
        if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
            raise ValueError('must be a list of fields, such as ["id", "orderLines[].sku"]')
        shape = dict[str, Any]()
        for field in fields:
            if not _FIELD.fullmatch(field):
                raise ValueError(f"{field!r} is no field; write id, orderLines[].sku, tags[]")
            if not _add(field.split("."), shape):
                raise ValueError(f"{field} contradicts another field of the list")
        if fields and shape.get("id") is not Kind.PLAIN:
            raise ValueError("id is missing: every message is about an aggregate")
        return cls(tuple(fields), shape)

    def reduced(self, aggregate: dict[str, Any]) -> Any:
        """The aggregate with its published fields only. Raises NotPublished."""
        try:
            return _reduced(aggregate, self.shape)
        except _AnotherKind:
            of_another_kind = [place for place in _outside(aggregate, self.shape, "source") if place.why]
            raise NotPublished(f"{of_another_kind[0].path} {of_another_kind[0].why}") from None

    def unpublished(self, made: Any) -> list[str]:
        """What a projection made that the schema does not have, such as `source.buyer`."""
        try:
            if _reduced(made, self.shape) == made:
                return []
        except _AnotherKind:
            pass
        return [place.path for place in _outside(made, self.shape, "source")]


_COMPOSED = (dict, list)

NOTHING = Published.of([])


def _add(path: Sequence[str], fields: dict[str, Any]) -> bool:
    """Adds one field of the list to the shape; False where that says something else already."""
    first, *rest = path
    name, is_list = first.removesuffix("[]"), first.endswith("[]")
    new: Any = {} if rest else Kind.PLAIN
    known = fields.setdefault(name, ListOf(new) if is_list else new)
    if isinstance(known, ListOf) != is_list:
        return False
    inner = known.item if isinstance(known, ListOf) else known
    return _add(rest, inner) if rest and isinstance(inner, dict) else inner == new


class _AnotherKind(Exception):
    """Somewhere in a value; where is looked for only then, because every event that leaves is reduced."""


def _reduced(value: Any, shape: Shape) -> Any:
    if value is None:
        return None
    if shape is Kind.PLAIN:
        if isinstance(value, _COMPOSED):
            raise _AnotherKind
        return value
    if isinstance(shape, dict) and isinstance(value, dict):
        return {name: _reduced(value[name], of) for name, of in shape.items() if name in value}
    if isinstance(shape, ListOf) and isinstance(value, list):
        return [_reduced(item, shape.item) for item in value]
    raise _AnotherKind


class _Place(NamedTuple):
    """Where a value is not as the schema says, and why if the schema has something else there."""

    path: str
    why: str = ""


def _outside(value: Any, shape: Shape, path: str) -> Iterator[_Place]:
    match shape:
        case ListOf(item) if isinstance(value, list):
            for each in value:
                yield from _outside(each, item, f"{path}[]")
        case dict() if isinstance(value, dict):
            yield from (_Place(f"{path}.{name}") for name in value if name not in shape)
            for name in shape:
                yield from _outside(value.get(name), shape[name], f"{path}.{name}")
        case Kind.PLAIN if not isinstance(value, _COMPOSED):
            return
        case _ if value is not None:
            yield _Place(path, f"is {_said(value)}; the published schema has {_said(shape)} there")


def _said(shape: Any) -> str:
    match shape:
        case dict():
            return "an object"
        case list() | ListOf():
            return "a list"
        case _:
            return Kind.PLAIN.value
