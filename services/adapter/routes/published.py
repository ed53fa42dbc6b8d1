"""Published: the schema of what may leave of an event type's aggregate."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

_FIELD = re.compile(r"[A-Za-z_]\w*(\[\])?(\.[A-Za-z_]\w*(\[\])?)*", re.ASCII)


class Kind(Enum):
    PLAIN = "a plain value"
    """Text, a number, true, false or null: never an object or a list, which could hold anything."""
    ANY = "anything"
    """What is not known before an event is there; no schema has it."""


@dataclass(frozen=True)
class ListOf:
    item: "Shape"


Shape: TypeAlias = "Kind | ListOf | Mapping[str, Shape]"
"""What a value looks like; a mapping is an object with these fields and no others."""


class NotPublished(Exception):
    """An aggregate has something else in a published field than the schema says. The message names the
    field and has no value in it."""


@dataclass(frozen=True)
class Published:
    """What may leave of one event type, as the file lists it: `id`, `orderLines[].sku`, `tags[]`."""

    fields: Sequence[str]
    shape: Mapping[str, Shape]

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

    def reduced(self, aggregate: Mapping[str, Any]) -> Any:
        """The aggregate with its published fields only. Raises NotPublished."""
        return _reduced(aggregate, self.shape, "source")

    def unpublished(self, made: Any) -> list[str]:
        """What a projection made that the schema does not have, such as `source.buyer`."""
        return list(_unpublished(made, self.shape, "source"))


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


def _reduced(value: Any, shape: Shape, path: str) -> Any:
    if value is None:
        return None
    match shape:
        case ListOf(item) if isinstance(value, list):
            return [_reduced(each, item, f"{path}[]") for each in value]
        case Mapping() if isinstance(value, dict):
            kept = [name for name in shape if name in value]
            return {name: _reduced(value[name], shape[name], f"{path}.{name}") for name in kept}
        case Kind.PLAIN if not isinstance(value, dict | list):
            return value
    raise NotPublished(f"{path} is {_said(value)}; the published schema has {_said(shape)} there")


def _unpublished(value: Any, shape: Shape, path: str) -> Iterator[str]:
    match shape:
        case ListOf(item) if isinstance(value, list):
            for each in value:
                yield from _unpublished(each, item, f"{path}[]")
        case Mapping() if isinstance(value, dict):
            yield from (f"{path}.{name}" for name in value if name not in shape)
            for name in shape:
                yield from _unpublished(value.get(name), shape[name], f"{path}.{name}")
        case Kind.PLAIN if not isinstance(value, dict | list):
            return
        case _ if value is not None:
            yield path


def _said(shape: Any) -> str:
    match shape:
        case dict():
            return "an object"
        case list() | ListOf():
            return "a list"
        case _:
            return Kind.PLAIN.value
