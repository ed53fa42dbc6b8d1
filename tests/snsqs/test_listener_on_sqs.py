"""The listener when SQS is unreachable or its queue is deleted."""

import asyncio

from snsqs import AwsClients, ListenerContainer, Topology, aws_clients, bindings

from tests.serving import eventually
from tests.snsqs.engines import AwsEngine, listening
from tests.snsqs.queues import QUEUE, Recorder, message


async def test_a_deleted_queue_is_created_again_in_development(aws: AwsClients) -> None:
    """The listener goes on with the new one, without intervention."""
    recorder = Recorder()
    async with listening(AwsEngine(aws), *recorder.handlers, poll_timeout=1) as bench:
        url = (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
        await aws.sqs.delete_queue(QueueUrl=url)

        async def published() -> bool:
            await bench.publish(message())
            return bool(recorder.painted)

        await eventually(published, within=30)
    assert bench.listener.degraded_reason is None


async def test_the_listener_waits_for_sqs_and_reports_it(aws: AwsClients) -> None:
    """A service starts without SQS; the degraded reason is set, and stopping works."""
    recorder = Recorder()
    async with aws_clients(region="us-east-1", endpoint_url="http://127.0.0.1:1") as nowhere:
        [binding] = bindings(recorder.handlers)
        container = ListenerContainer(Topology(nowhere, create=True), binding)
        await container.prepare()
        running = asyncio.create_task(container.run())
        assert container.degraded_reason is not None
        container.stop()
        async with asyncio.timeout(5):
            await running
