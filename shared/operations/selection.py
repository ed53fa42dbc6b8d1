"""Selection: which of the messages or events that are in trouble a person means."""

from typing import Annotated, Any, TypeVar

from pydantic import Field, StrictBool, model_validator

from shared.web.request import RequestModel

Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,256}$")]
Phrase = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00]*$")]


def may_repeat(schema: dict[str, Any]) -> None:
    """The `json_schema_extra` of a set in which it is no mistake to name something twice."""
    del schema["uniqueItems"]


Names = Annotated[frozenset[Name], Field(min_length=1, json_schema_extra=may_repeat)]


class Filter(RequestModel):
    """Every criterion that is given has to fit."""

    ids: Annotated[Names, Field(max_length=100)] | None = None
    """As many as a URL can have."""
    type: Name | None = None
    order_id: Name | None = None
    error: Phrase | None = None
    """A part of the error, in capitals or not."""


S = TypeVar("S", bound="ExplicitSelection")


class ExplicitSelection(RequestModel):
    """A filter that says what it means: everything is only meant by `all`."""

    all: StrictBool = False

    @model_validator(mode="after")
    def _selects_something(self: S) -> S:
        fields = type(self).model_fields
        *others, last = (field.alias or name for name, field in fields.items() if name != "all")
        is_given = any(getattr(self, name) is not None for name in fields if name != "all")
        if self.all == is_given:
            choice = f"{', '.join(others)} or {last}"
            raise ValueError(f"give {choice}; or all, and nothing else, for everything")
        return self


class Selection(ExplicitSelection, Filter):
    """Of what is in trouble."""

    ids: Annotated[Names, Field(max_length=1_000)] | None = None


def criteria(wanted: Filter) -> dict[str, Any]:
    """The filter as arguments of `snsqs.outbox.parked_events`."""
    return {"ids": wanted.ids, "type": wanted.type, "subject": wanted.order_id, "error": wanted.error}
