"""Faults that experiments switch on in a running adapter. In development only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StrictBool
from snsqs import Message, MessagingError, Send

from shared.web import OperatorAccess, Problem, RequestModel, component


class FaultSettings(RequestModel):
    """Faults to switch on; by default none."""

    refuses: StrictBool = False
    """`POST /events` answers 503."""
    copies: Annotated[int, Field(strict=True, ge=1, le=10)] = 1
    """Number of times that each message is sent to its topic, under the same id."""


@dataclass
class Faults:
    """Faults of one adapter instance."""

    settings: FaultSettings = field(default_factory=FaultSettings)

    def refuse(self) -> None:
        """Dependency of `POST /events`. Raises Problem."""
        if self.settings.refuses:
            raise Problem(503, "refusing events: an experiment is running")

    async def send_copies(
        self, messages: Sequence[Message[str]], proceed: Send
    ) -> list[str | MessagingError]:
        """ChannelInterceptor that publishes `copies` times; the results are those of the last one."""
        answer = await proceed(messages)
        for _ in range(self.settings.copies - 1):
            answer = await proceed(messages)
        return answer


FaultsDependency = Annotated[Faults, component(Faults)]

router = APIRouter(prefix="/faults", include_in_schema=False, dependencies=[OperatorAccess])


@router.get("", summary="Faults that are switched on")
async def read(faults: FaultsDependency) -> FaultSettings:
    return faults.settings


@router.put("", summary="Switch faults on or off")
async def switch(settings: FaultSettings, faults: FaultsDependency) -> FaultSettings:
    faults.settings = settings
    return settings
