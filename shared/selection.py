"""Selection: which of the messages or events that are in trouble a person means."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictBool, model_validator

from shared.domain_event import WireModel

Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,256}$")]
Phrase = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00]*$")]


def _may_repeat(schema: dict[str, Any]) -> None:
    """A set, but to name something twice is no mistake."""
    del schema["uniqueItems"]


Names = Annotated[frozenset[Name], Field(min_length=1, json_schema_extra=_may_repeat)]


class Filter(WireModel):
    """Every criterion that is given has to fit."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[Names, Field(max_length=100)] | None = None
    """As many as a URL can have."""
    type: Name | None = None
    order_id: Name | None = None
    error: Phrase | None = None
    """A part of the error, in capitals or not."""


class Selection(Filter):
    """A filter that says what it means: everything is only meant by `all`."""

    ids: Annotated[Names, Field(max_length=1_000)] | None = None
    all: StrictBool = False

    @model_validator(mode="after")
    def _selects_something(self) -> "Selection":
        criteria = (self.ids, self.type, self.order_id, self.error)
        if self.all == any(each is not None for each in criteria):
            raise ValueError("give ids, type, orderId or error; or all, and nothing else, for everything")
        return self
