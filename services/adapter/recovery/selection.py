"""Selection: which dead letters, or parked events, a person means."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from services.adapter.recovery.dead_letter import DeadLetter
from shared.domain_event import WireModel

Id = Annotated[str, Field(min_length=1, max_length=256)]
Text = Annotated[str, Field(min_length=1, max_length=1_000)]


class Filter(WireModel):
    """Every criterion that is given has to fit."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[frozenset[Id], Field(min_length=1, max_length=1_000)] | None = None
    """Ids as the list shows them, or the ids of events."""
    type: Text | None = None
    order_id: Text | None = None
    error: Text | None = None
    """A part of the reason, in capitals or not."""

    def takes(self, letter: DeadLetter) -> bool:
        return (
            (self.ids is None or bool(self.ids & {letter.id, letter.event_id}))
            and self.type in (None, letter.type)
            and self.order_id in (None, letter.order_id)
            and (self.error is None or self.error.casefold() in (letter.reason or "").casefold())
        )


class Selection(Filter):
    """A filter that says what it means: everything is only meant by `all`."""

    all: bool = False

    @model_validator(mode="after")
    def _selects_something(self) -> "Selection":
        criteria = (self.ids, self.type, self.order_id, self.error)
        if self.all == any(each is not None for each in criteria):
            raise ValueError("give ids, type, orderId or error; or all, and nothing else, for everything")
        return self
