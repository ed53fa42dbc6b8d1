"""Criteria with which an operator selects messages or events."""

from typing import Annotated, Any, TypeVar

from pydantic import Field, StrictBool, model_validator

from shared.web import RequestModel

Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,256}$")]
Phrase = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00]*$")]


def allow_duplicates(schema: dict[str, Any]) -> None:
    """Allow repeated items in a set. A `json_schema_extra`."""
    del schema["uniqueItems"]


Names = Annotated[frozenset[Name], Field(min_length=1, json_schema_extra=allow_duplicates)]


class Filter(RequestModel):
    """Criteria, all of which have to match."""

    ids: Annotated[Names, Field(max_length=100)] | None = None
    """At most 100, to fit into a URL."""
    type: Name | None = None
    order_id: Name | None = None
    error: Phrase | None = None
    """Part of the error message, case-insensitive."""


S = TypeVar("S", bound="ExplicitSelection")


class ExplicitSelection(RequestModel):
    """Base class of selections in request bodies: an empty one is rejected, everything needs `all`."""

    all: StrictBool = False

    @model_validator(mode="after")
    def _selects_something(self: S) -> S:
        fields = type(self).model_fields
        *others, last = (field.alias or name for name, field in fields.items() if name != "all")
        is_given = any(getattr(self, name) is not None for name in fields if name != "all")
        if self.all == is_given:
            choice = f"{', '.join(others)} or {last}"
            raise ValueError(f"must have {choice}; or, for everything, only all")
        return self


class Selection(ExplicitSelection, Filter):
    """Selection of dead letters or parked events."""

    ids: Annotated[Names, Field(max_length=1_000)] | None = None


def criteria(by: Filter) -> dict[str, Any]:
    """Return the filter as keyword arguments of `snsqs.outbox.parked_events`."""
    return {"ids": by.ids, "type": by.type, "subject": by.order_id, "error": by.error}
