"""Telemetry of a process: structured logs with the message they belong to, traces, metrics for Prometheus."""

import functools
import logging
import sys
from contextlib import suppress
from typing import Literal

import stamina
import stamina.instrumentation
import structlog
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from snsqs.tracing import current_message

# Without an exporter no span is recorded, unless the caller's is. Ids are created, logged and propagated all
# the same. To add an exporter, sample more.
_UNSAMPLED = ParentBased(ALWAYS_OFF)

LogFormat = Literal["auto", "console", "json"]


def configure(service: str, *, log_format: LogFormat = "auto", log_level: str = "INFO") -> None:
    """Set up logging and tracing of this process. `auto` is readable on a terminal and JSON elsewhere.

    Records of libraries, `snsqs` among them, are rendered like the services' own, `extra` included.
    """
    is_console = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    enrich: list[structlog.typing.Processor] = [
        _add_message,
        structlog.stdlib.add_log_level,
        _add_trace_id,
    ]
    render = _console() if is_console else _json(service)
    structlog.configure(
        processors=[*enrich, *render],
        logger_factory=_Output,
        wrapper_class=structlog.make_filtering_bound_logger(
            log_level
        ),  # a line below the level costs nothing
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _subject_as_order_id, *enrich],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=log_level, force=True)
    logging.getLogger("asyncpg").setLevel(logging.ERROR)  # it warns of each lost connection, with a traceback
    for chatty in ("httpx", "botocore", "aiobotocore", "yoyo.migrations", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    stamina.instrumentation.set_on_retry_hooks([_log_retry])
    trace.set_tracer_provider(
        TracerProvider(sampler=_UNSAMPLED, resource=Resource.create({SERVICE_NAME: service}))
    )


@functools.cache
def export_metrics() -> None:
    """Export OpenTelemetry metrics, such as those of `snsqs`, through prometheus_client's registry.

    Metrics keep their names and have no labels but their own attributes. Calls after the first have no
    effect: a process has one meter provider, however many applications it serves.
    """
    reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False)
    metrics.set_meter_provider(MeterProvider([reader]))


def tracer() -> trace.Tracer:
    """Return the services' tracer. One obtained before `configure` looks it up again for each span."""
    return trace.get_tracer("order-to-supply")


class _Output:
    """Standard output as structlog's logger. Neither a closed stream nor an unencodable character raises.

    The services' lines bypass `logging`, which would more than double their cost.
    """

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stdout.write(f"{line}\n")  # one write: print writes the newline separately
            sys.stdout.flush()

    debug = info = warning = error = critical = msg


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    structlog.get_logger(__name__).warning(
        "trying again",
        error=str(details.caused_by),
        retry=details.retry_num,
        retry_in=round(details.wait_for, 1),
    )


def _console() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
        _arrange_fields,
        structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            pad_level=False,
            sort_keys=False,
        ),
    ]


def _json(service: str) -> list[structlog.typing.Processor]:
    def add_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"service": service, **event}

    return [
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        add_service,
        structlog.processors.JSONRenderer(),
    ]


def _add_message(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the message that is being handled. Its subject is the id of an order in all services."""
    message = current_message()
    if message is None:
        return event
    return {"event_id": message.id, "event_type": message.type, "order_id": message.subject, **event}


def _subject_as_order_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if "subject" in event:
        event["order_id"] = event.pop("subject")
    return event


def _add_trace_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
    return event


def _arrange_fields(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put the order and event type first and ids last, and leave out the trace id and empty fields."""
    event.pop("trace_id", None)
    first = {key: event.pop(key) for key in ("order_id", "event_type") if key in event}
    last = {key: event.pop(key) for key in ("message_id", "event_id") if key in event}
    return {key: value for key, value in {**first, **event, **last}.items() if value is not None}
