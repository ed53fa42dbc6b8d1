"""Messaging: Spring Messaging's four nouns over SNS and SQS, in asyncio.

`Message` travels through a `MessageChannel`; a `MessageConverter` makes typed events of payloads; a
`MessageHandler` takes them. `@sqs_listener` makes a handler of a function, any number of them per queue.
"""

from shared.messaging.acknowledgement import Acknowledgement
from shared.messaging.aws import AwsClients, aws_clients
from shared.messaging.channel import ChannelInterceptor, InterceptedChannel, MessageChannel
from shared.messaging.converter import MessageConverter, message_of
from shared.messaging.errors import (
    LeaseLost,
    ListenerMisconfigured,
    MessageTooLarge,
    MessagingError,
    SendFailed,
    TerminalError,
    TopologyError,
    Unavailable,
    UndecodableMessage,
    UnknownType,
)
from shared.messaging.handler import Binding, Delivery, MessageHandler, Middleware, bindings, sqs_listener
from shared.messaging.lease import Lease
from shared.messaging.listener import ListenerContainer, ListenerOptions
from shared.messaging.message import Message
from shared.messaging.queue import QueueSettings
from shared.messaging.settled import Settled
from shared.messaging.sns import SnsChannel
from shared.messaging.sqs import SqsChannel
from shared.messaging.topology import Topology

__all__ = [
    "Acknowledgement",
    "AwsClients",
    "Binding",
    "ChannelInterceptor",
    "Delivery",
    "InterceptedChannel",
    "Lease",
    "LeaseLost",
    "ListenerContainer",
    "ListenerMisconfigured",
    "ListenerOptions",
    "Message",
    "MessageChannel",
    "MessageConverter",
    "MessageHandler",
    "MessageTooLarge",
    "MessagingError",
    "Middleware",
    "QueueSettings",
    "SendFailed",
    "Settled",
    "SnsChannel",
    "SqsChannel",
    "TerminalError",
    "Topology",
    "TopologyError",
    "Unavailable",
    "UndecodableMessage",
    "UnknownType",
    "aws_clients",
    "bindings",
    "message_of",
    "sqs_listener",
]
