"""Base model of everything that is read from or written to JSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    # Type checkers do not read `model_config`. That the fields are read-only is what allows a subclass
    # to narrow their types, such as `source: Order` in an event.
    @dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
    class _FrozenModel(ModelMetaclass): ...
else:
    _FrozenModel = type(BaseModel)

MAX_VERSION = 10**18 - 1
"""Largest version of an aggregate; so many digits fit into a PostgreSQL `bigint`."""


class WireModel(BaseModel, metaclass=_FrozenModel):
    """Immutable model with camelCase names in JSON and snake_case names in Python.

    A subclass may narrow the type of an inherited field.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
    )


class _Unset:
    """Value of a field that is not given, before validation."""


UNSET: Any = _Unset()


def required_in_json(default: Callable[[], object]) -> Callable[[object, ValidationInfo], object]:
    """Return the `mode="before"` validator of a field that has a default for objects made in Python, such as
    the present time, and is required in JSON, whose reader would default to another time. The field is
    declared with `Field(default_factory=lambda: UNSET, validate_default=True)`."""

    def validate(value: object, info: ValidationInfo) -> object:
        if value is not UNSET:
            return value
        if info.mode == "json":
            name = to_camel(info.field_name or "")
            raise PydanticCustomError("missing", "Field required, spelled {name}", {"name": name})
        return default()

    return validate
