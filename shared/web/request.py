"""Base model and field types of request bodies."""

from pydantic import BeforeValidator, ConfigDict
from snsqs import WireModel


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integral = BeforeValidator(_integral)
"""Accepts 2.0 for a strict `int`: JSON has one kind of number."""


class RequestModel(WireModel):
    """Base class of request bodies: camelCase names only, unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid", validate_by_name=False)
