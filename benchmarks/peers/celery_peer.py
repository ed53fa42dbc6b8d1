"""Celery with its SQS transport, in its cheapest pool: one process, one task after the other.

`python -m benchmarks.peers.celery_peer send | work`
"""

import sys
from typing import Any

from celery import Celery

from benchmarks.peers.tally import EVENT, MESSAGES, QUEUE, URL, Tally

tally = Tally()

app = Celery("bench", broker="sqs://bench:bench@")
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "wait_time_seconds": 1,
        "predefined_queues": {QUEUE: {"url": f"{URL}/000000000000/{QUEUE}"}},
    },
    worker_prefetch_multiplier=20,  # two receive calls' messages
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


@app.task  # type: ignore[untyped-decorator]
def measured(event: dict[str, Any]) -> None:
    tally.handled()


if __name__ == "__main__":
    if sys.argv[1] == "send":
        for _ in range(MESSAGES):
            measured.delay(EVENT)
    else:
        quiet = ["--loglevel=ERROR", "--without-gossip", "--without-mingle"]
        app.worker_main(["worker", "--pool=solo", *quiet, "-Q", QUEUE])
