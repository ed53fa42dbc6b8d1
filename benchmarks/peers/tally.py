"""Tally: the meter of a peer's process, which needs nothing but Python."""

import json
import os
import resource
import sys
import time

WARM_UP, COUNT = 300, 1_000
MESSAGES = WARM_UP + COUNT + 200
"""Some are left at the end."""

QUEUE = "bench-queue"
URL = os.environ.get("AWS_ENDPOINT_URL", "")
EVENT = {"source": {"id": "1", "version": 1}, "occurenceOn": 1520393282506}


class Tally:
    """Counts messages. After the last one it prints seconds and CPU seconds per message, and ends the
    process."""

    def __init__(self) -> None:
        self._handled = 0
        self._began = (0.0, 0.0)

    def handled(self) -> None:
        self._handled += 1
        if self._handled == WARM_UP:
            self._began = _reading()
        elif self._handled == WARM_UP + COUNT:
            seconds, cpu = (now - began for now, began in zip(_reading(), self._began, strict=True))
            print(json.dumps({"seconds": seconds / COUNT, "cpu": cpu / COUNT}))
            sys.stdout.flush()
            os._exit(0)  # how long a worker takes to stop is not measured


def _reading() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime
