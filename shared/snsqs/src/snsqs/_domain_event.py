"""A domain event, as it is in the code and as it is on the wire."""

import time
from typing import Any, ClassVar

from pydantic import Field

from snsqs._model import MAX_VERSION, WireModel

_YEAR_9999 = 253_370_764_800_000


class Aggregate(WireModel):
    """What every published aggregate has: its identity, and a version that grows with every change."""

    id: str
    version: int = Field(ge=0, le=MAX_VERSION)


class DomainEvent(WireModel):
    """ "This happened": the aggregate as it was after the change, and when.

    On the wire it is `{"source": {…}, "occurenceOn": 1520393282506}`, spelled as the original system
    spelled it, with nothing added; type, id and version travel beside it as message attributes. A subclass
    narrows `source`: the producer's to its whole aggregate, a consumer's to the fields that it reads.
    """

    event_type: ClassVar[str]
    """The logical name on the wire. It is the class's name unless the class body says another."""

    source: Aggregate
    occurence_on: int = Field(default_factory=lambda: time.time_ns() // 1_000_000, ge=0, lt=_YEAR_9999)
    """Milliseconds since the epoch."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.event_type = cls.__dict__.get("event_type", cls.__name__)
