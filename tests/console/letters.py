"""Dead letters for tests: real queues, and messages that died in them."""

from dataclasses import dataclass
from typing import Any

from snsqs import AwsClients, Message, TerminalError, Topology, bindings
from snsqs.headers import DEAD_LETTER_REASON
from snsqs.queues import ListenerQueues, RawAttributes, Received, dead_letter_attributes

from services.console.recovery.operation import Status
from services.scm.main import HANDLERS
from tests.serving import OPERATOR, Served, eventually
from tests.snsqs.queues import message

QUEUE = "scm-adapter-order-event-queue"
DEAD_LETTERS = f"{QUEUE}-dlq"

Json = dict[str, Any]


@dataclass(frozen=True)
class DeadLetterFixture:
    """A queue of SCM and its dead-letter queue, without SCM."""

    aws: AwsClients
    queues: ListenerQueues

    async def add(
        self,
        *dead: Message[str],
        error: Exception | None = None,
        group: str | None = None,
        raw: RawAttributes | None = None,
    ) -> None:
        """Move messages to the dead-letter queue as a listener does. `raw` replaces headers."""
        for number, each in enumerate(dead):
            headers: Any = {
                name: {"DataType": "String", "StringValue": value} for name, value in each.headers.items()
            }
            headers |= raw or {}
            received = Received(f"died-{number}-{each.id}", "", each.payload, headers, 5, 0.0, group)
            attributes = dead_letter_attributes(
                received, error or TerminalError("no such article"), queue=QUEUE
            )
            await self.queues.dead_letters.send(
                each.payload, attributes, group=group, deduplication=received.message_id
            )

    async def counts(self) -> tuple[int, int]:
        """Return the visible messages of the queue and of its dead-letter queue; none may be in flight."""
        return await _visible(self.aws, self.queues.queue.name), await _visible(
            self.aws, self.queues.dead_letters.name
        )

    async def received(self) -> list[Received]:
        """Receive the messages of the queue."""
        return await self.queues.queue.receive(limit=10, wait=1, visibility=30)


async def dead_letter_fixture(aws: AwsClients) -> DeadLetterFixture:
    binding = next(each for each in bindings(HANDLERS) if each.queue == QUEUE)
    return DeadLetterFixture(aws, await Topology(aws, create=True).listener_queues(binding))


async def dead_letter_reason(aws: AwsClients, queue: str) -> str:
    """Wait for a dead letter of the queue, and return its reason."""
    url = (await aws.sqs.get_queue_url(QueueName=f"{queue}-dlq"))["QueueUrl"]

    async def dead_letter() -> Any:
        answer = await aws.sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])
        return answer.get("Messages")

    [letter] = await eventually(dead_letter)
    return str(letter["MessageAttributes"][DEAD_LETTER_REASON]["StringValue"])


async def _visible(aws: AwsClients, name: str) -> int:
    url = (await aws.sqs.get_queue_url(QueueName=name))["QueueUrl"]
    answer = await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    assert answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


async def browse(console: Served, **wanted: Any) -> Json:
    answer = await console.http.get("/api/dead-letters", params=wanted, headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def letters(console: Served, **wanted: Any) -> list[Json]:
    found: list[Json] = (await browse(console, **wanted))["letters"]
    return found


async def begin(console: Served, what: str, **command: Any) -> Json:
    """Start a redrive or discard of all dead letters, or of a selection."""
    body = {"queue": DEAD_LETTERS, "selection": {"all": True}} | command
    answer = await console.http.post(f"/api/dead-letters/{what}", json=body, headers=OPERATOR)
    assert answer.status_code == 202, answer.text
    begun: Json = answer.json()
    assert answer.headers["location"] == f"/api/operations/{begun['id']}"
    return begun


async def ended(console: Served, begun: Json) -> Json:
    """Wait for the end of the operation, and return it."""

    async def is_over() -> Json | None:
        found: Json = (await console.http.get(f"/api/operations/{begun['id']}", headers=OPERATOR)).json()
        return found if found["status"] != Status.RUNNING else None

    return await eventually(is_over)


async def do(console: Served, what: str, **command: Any) -> Json:
    return await ended(console, await begin(console, what, **command))


async def refused(console: Served, what: str, **command: Any) -> tuple[int, str]:
    body = {"queue": DEAD_LETTERS, "selection": {"all": True}} | command
    answer = await console.http.post(f"/api/dead-letters/{what}", json=body, headers=OPERATOR)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["detail"]


def orders(count: int, event_type: str = "OrderCompleted") -> list[Message[str]]:
    return [message(event_type, subject=str(number), version=2) for number in range(count)]
