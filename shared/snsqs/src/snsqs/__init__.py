"""Asyncio messaging on SNS and SQS, after Spring Messaging.

A `Message` travels through a `MessageChannel`; a `MessageConverter` converts its payload to a typed event; a
`MessageHandler` handles it. `@sqs_listener` turns functions into handlers, any number of them per queue, and
a `ListenerContainer` runs the handlers of one queue.

Submodules: `topology` (queues and subscriptions derived from the handlers), `testing` (SNS and SQS in
memory), `converters` (forms of messages on the wire), `events` (in-process events), `outbox`, `inbox`,
`migrations`, `postgres` and `retention` (extra `postgres`), `outbox.http` and `cloudevents` (an adapter
between outbox and channel), `tracing`, `headers`; and for tools `queues`, `aws`, `background` and `backoff`.
Names with a leading underscore are private.
"""

from snsqs._acknowledgement import Acknowledgement
from snsqs._batch_failures import BatchFailures
from snsqs._binding import Binding, bindings, sqs_listener
from snsqs._channel import ChannelInterceptor, InterceptedChannel, MessageChannel, Send
from snsqs._converter import JsonConverter, MessageConverter, message_of
from snsqs._domain_event import Aggregate, DomainEvent
from snsqs._errors import (
    BatchSendFailed,
    ChannelMisconfigured,
    HandlerFailed,
    HandlerTimedOut,
    InvalidEvent,
    InvalidMessage,
    LeaseLost,
    ListenerMisconfigured,
    MessageTooLarge,
    MessagingError,
    RetryAfter,
    SendFailed,
    TerminalError,
    TopologyError,
    Unavailable,
    UndecodableMessage,
    UnknownType,
)
from snsqs._event import event
from snsqs._handler import Delivery, HandlerFunction, MessageHandler, Middleware
from snsqs._health import ListenerHealth, ListenerState
from snsqs._lease import Lease
from snsqs._listener import ListenerContainer
from snsqs._message import Message
from snsqs._model import MAX_VERSION, WireModel
from snsqs._options import ListenerOptions
from snsqs._outcome import MessageOutcome, OutcomeObserver
from snsqs._provide import provide
from snsqs._settings import QueueSettings
from snsqs._sns import SnsChannel
from snsqs._sqs import SqsChannel
from snsqs._validation import size_error
from snsqs.aws import AwsClients, aws_clients
from snsqs.topology import Topology

__all__ = [
    "MAX_VERSION",
    "Acknowledgement",
    "Aggregate",
    "AwsClients",
    "BatchFailures",
    "BatchSendFailed",
    "Binding",
    "ChannelInterceptor",
    "ChannelMisconfigured",
    "Delivery",
    "DomainEvent",
    "HandlerFailed",
    "HandlerFunction",
    "HandlerTimedOut",
    "InterceptedChannel",
    "InvalidEvent",
    "InvalidMessage",
    "JsonConverter",
    "Lease",
    "LeaseLost",
    "ListenerContainer",
    "ListenerHealth",
    "ListenerMisconfigured",
    "ListenerOptions",
    "ListenerState",
    "Message",
    "MessageChannel",
    "MessageConverter",
    "MessageHandler",
    "MessageOutcome",
    "MessageTooLarge",
    "MessagingError",
    "Middleware",
    "OutcomeObserver",
    "QueueSettings",
    "RetryAfter",
    "Send",
    "SendFailed",
    "SnsChannel",
    "SqsChannel",
    "TerminalError",
    "Topology",
    "TopologyError",
    "Unavailable",
    "UndecodableMessage",
    "UnknownType",
    "WireModel",
    "aws_clients",
    "bindings",
    "event",
    "message_of",
    "provide",
    "size_error",
    "sqs_listener",
]
