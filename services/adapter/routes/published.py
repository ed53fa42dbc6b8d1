"""Published: the fields of an event type's aggregate that may leave."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

_FIELD = re.compile(r"[A-Za-z_]\w*(\[\])?(\.[A-Za-z_]\w*(\[\])?)*", re.ASCII)

_MAX_DEPTH = 20
"""Names in one field."""


@dataclass(frozen=True)
class Plain:
    """Text, number, boolean or null: never an object or a list, which could hold anything."""


@dataclass(frozen=True)
class ListOf:
    """List whose items have one shape."""

    item: "Shape"


Shape: TypeAlias = "Plain | ListOf | dict[str, Shape]"
"""Structure of a value; a dictionary is an object with these fields and no others."""


class NotPublished(Exception):
    """An aggregate has another kind of value in a published field than the schema. The message names the
    field and contains no value."""


@dataclass(frozen=True)
class Published:
    """Fields that may leave of one event type: `id`, `orderLines[].sku`, `tags[]`."""

    fields: Sequence[str]
    """As the route file lists them."""
    shape: dict[str, Shape]

    @classmethod
    def parse(cls, fields: object) -> "Published":
        """Return the schema of a list in the route file. Raises ValueError, which names the wrong field."""
        if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
            raise ValueError('must be a list of fields, such as ["id", "orderLines[].sku"]')
        shape = dict[str, Any]()
        for field in fields:
            if not _FIELD.fullmatch(field):
                raise ValueError(f"{field!r} is no field; write id, orderLines[].sku, tags[]")
            if field.count(".") >= _MAX_DEPTH:
                raise ValueError(f"{field[:40]}… is nested too deeply; {_MAX_DEPTH} names are the limit")
            if not _add(field.split("."), shape):
                raise ValueError(f"{field} contradicts another field of the list")
        if fields and shape.get("id") != Plain():
            raise ValueError("id is missing: every message is about an aggregate")
        return cls(tuple(fields), shape)

    def select(self, aggregate: dict[str, Any]) -> dict[str, Any]:
        """Return the aggregate with its published fields only; a missing field stays missing. Raises
        NotPublished."""
        try:
            selected: dict[str, Any] = _select(aggregate, self.shape)
        except _Mismatch:
            raise NotPublished(next(_mismatches(aggregate, self.shape, "source"))) from None
        return selected


NOTHING = Published.parse([])


def _add(path: Sequence[str], fields: dict[str, Any]) -> bool:
    """Add a field to the shape; return False if it contradicts what is there."""
    first, *rest = path
    name, is_list = first.removesuffix("[]"), first.endswith("[]")
    new: Any = {} if rest else Plain()
    known = fields.setdefault(name, ListOf(new) if is_list else new)
    if isinstance(known, ListOf) != is_list:
        return False
    inner = known.item if isinstance(known, ListOf) else known
    return _add(rest, inner) if rest and isinstance(inner, dict) else inner == new


class _Mismatch(Exception):
    """A value does not have its shape. Without a path, which would slow down every event that leaves."""


def _select(value: Any, shape: Shape) -> Any:
    if value is None:
        return None
    match shape:
        case dict() if isinstance(value, dict):
            return {name: _select(value[name], inner) for name, inner in shape.items() if name in value}
        case ListOf(item) if isinstance(value, list):
            return [_select(each, item) for each in value]
        case Plain() if not isinstance(value, dict | list):
            return value
        case _:
            raise _Mismatch


def _mismatches(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Describe each value that does not have its shape."""
    match shape:
        case ListOf(item) if isinstance(value, list):
            for each in value:
                yield from _mismatches(each, item, f"{path}[]")
        case dict() if isinstance(value, dict):
            for name, inner in shape.items():
                yield from _mismatches(value.get(name), inner, f"{path}.{name}")
        case Plain() if not isinstance(value, dict | list):
            return
        case _ if value is not None:
            yield f"{path} is {_kind(value)}; the published schema has {_kind(shape)} there"


def _kind(shape: Any) -> str:
    match shape:
        case dict():
            return "an object"
        case list() | ListOf():
            return "a list"
        case _:
            return "a plain value"
