"""Context of messages: the trace (W3C Trace Context, OpenTelemetry API) and the message being handled."""

from opentelemetry import propagate, trace
from opentelemetry.context import Context

from snsqs import _message
from snsqs._handler import Delivery, MessageHandler
from snsqs._message import Message
from snsqs.headers import TRACEPARENT

__all__ = ["Tracing", "context_of", "current_message", "current_traceparent", "trace_id_of"]


def current_message() -> Message[str] | None:
    """Return the message that is being handled in this task, or None outside of handling; of a batch, the
    first. A logging filter or formatter can add its id, type and subject to every record."""
    return _message.current_message.get()


def current_traceparent() -> str | None:
    """Return the current span as `traceparent` (W3C Trace Context), or None outside of a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a `traceparent`: 32 hexadecimal digits."""
    return traceparent.split("-")[1]


def context_of(traceparent: str | None) -> Context:
    """Return the context of a trace that began in another process. None or a malformed value begins a new
    trace."""
    return propagate.extract({"traceparent": traceparent}) if traceparent else Context()


class Tracing:
    """Middleware: handles a message in a span of the trace that its `traceparent` names."""

    provides = ()

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("snsqs")

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        context = context_of(delivery.message.headers.get(TRACEPARENT))
        with self._tracer.start_as_current_span(f"handle {delivery.message.type}", context=context):
            await proceed(delivery)
