"""Base model of everything that is read from or written to JSON."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

MAX_VERSION = 10**18 - 1
"""Largest version of an aggregate; so many digits fit into a PostgreSQL `bigint`."""


class WireModel(BaseModel):
    """Immutable model with camelCase names in JSON and snake_case names in Python."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
    )
