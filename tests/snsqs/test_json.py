"""JSON of events: what is published is what is read, or publishing is refused with the field."""

import gc
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PlainSerializer
from snsqs import InvalidEvent, JsonConverter, event, message_of, sqs_listener
from snsqs.testing import MemoryBroker, run_on_virtual_clock
from typing_extensions import TypedDict

NAN, INFINITY = float("nan"), float("inf")


class Line(BaseModel):
    price: float = 1.0
    note: str | None = None
    more: Any = None


@event("Priced")
class Priced(BaseModel):
    lines: list[Line] = []
    labels: dict[str, float] = {}
    raw: bytes = b""
    other: str | None = None


@event("Labelled")
class Labelled(BaseModel):
    labels: dict[str, float]


@event("PricedToo")
@dataclass
class PricedToo:
    price: float
    other: str | None = None


@event("PricedAsWell")
class PricedAsWell(TypedDict):
    price: float


@event("Constants")
class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    price: float


@event("Texts")
class Texts(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    price: float
    other: None = None
    unit: str = "NaN"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (Priced(lines=[Line(), Line(price=NAN)]), "lines.1.price is nan, which JSON cannot represent"),
        (Priced(lines=[Line(more=[0, -INFINITY])]), "lines.0.more.1 is -inf"),
        (Priced(lines=[Line(more={"a": (NAN,)})]), "lines.0.more.a.0 is nan"),
        (Priced(labels={"x": 1.0, "y": INFINITY}), "labels.y is inf"),
        (PricedToo(NAN), "price is nan"),
        (PricedAsWell(price=INFINITY), "price is inf"),
        (Constants(price=NAN), "price is nan"),
        (Priced(lines=[Line(note="caf\udce9")]), "lines.0.note: .* surrogates not allowed"),
        (Priced(labels={"caf\udce9": 1.0}), r"labels: .* surrogates not allowed"),
        (Labelled(labels={"caf\udce9": 1.0}), r"labels: .* surrogates not allowed"),
        (Priced(raw=b"\xff"), "raw: .*invalid utf-8"),
        (Priced(lines=[Line(more={"a": object()})]), "lines.0.more.a: Unable to serialize unknown type"),
        (PricedToo(price="free"), "price"),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_json_cannot_represent_is_refused(sent: object, reason: str) -> None:
    """NaN, infinities, half of a surrogate pair, and objects without a JSON form, with their path."""
    kind = PricedAsWell if isinstance(sent, dict) else type(sent)
    with pytest.raises(InvalidEvent, match=rf"the event is not a {kind.__name__}: .*{reason}"):
        message_of(sent, kind)


def test_other_values_without_a_number_are_sent() -> None:
    """None, texts that look like it, and numbers that the model encodes as texts."""
    converter = JsonConverter()
    for sent in (
        Priced(lines=[Line(note="NaN \ufffd", more={"Infinity": None})], other="null"),
        Texts(price=INFINITY),
        PricedToo(1e308, "-Infinity"),
    ):
        assert converter.from_message(message_of(sent), type(sent)) == sent


def test_a_serializer_decides_about_its_field() -> None:
    """NaN that the event itself writes as null is not lost."""

    @event("Measured")
    class Measured(BaseModel):
        value: Annotated[float | None, PlainSerializer(lambda value: None if value != value else value)]
        amount: Decimal = Decimal("0.10")

    assert message_of(Measured(value=NAN)).payload == '{"value":null,"amount":"0.10"}'


def test_the_types_that_a_converter_remembers_are_bounded() -> None:
    """G9: those that a program makes for each message do not accumulate."""

    class Marker: ...

    converter = JsonConverter()
    first = Marker()
    converter.to_payload(1, Annotated[int, first])
    forgotten = weakref.ref(first)
    del first
    for _ in range(1_000):
        converter.to_payload(1, Annotated[int, Marker()])
    gc.collect()
    assert forgotten() is None


class Part(BaseModel):
    number: float
    text: str | None = None


@event("Anything", id="id", version="version")
@dataclass
class Anything:
    id: str
    version: int
    parts: list[Part]
    labels: dict[str, int | bool | None]
    raw: bytes
    amount: Decimal
    at: datetime
    more: Any


text = st.text(st.characters(exclude_categories=()), max_size=20)  # with halves of surrogate pairs
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
anything = st.builds(
    Anything,
    id=st.text("é1-") | st.text("é1-") | text | st.text("é", min_size=255, max_size=258),
    version=st.integers(-1, 10**18),
    parts=st.lists(st.builds(Part, number=st.floats(), text=text | st.none()), max_size=2),
    labels=st.dictionaries(text, st.integers() | st.booleans() | st.none(), max_size=2),
    raw=st.text().map(str.encode) | st.binary(max_size=5),
    amount=st.decimals(allow_nan=False, allow_infinity=False),
    at=st.datetimes(timezones=st.just(UTC)),
    more=values,
)


@settings(deadline=None)
@given(anything)
def test_an_event_that_is_sent_is_received_unchanged(sent: Anything) -> None:
    """Any other is refused when it is published."""
    try:
        message = message_of(sent)
    except InvalidEvent:
        return
    received: list[Anything] = []

    @sqs_listener("queue")
    async def on_anything(event: Anything) -> None:
        received.append(event)

    async def program() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_anything)
            await broker.queue_channel("queue").send([message])
            await broker.join()

    run_on_virtual_clock(program())
    assert received == [sent]
