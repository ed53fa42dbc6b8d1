"""Addresses of topics and queues: a name, an ARN, or the URL of a queue."""

import re
from dataclasses import dataclass
from typing import Literal

from snsqs._errors import ChannelMisconfigured

_ARN = re.compile(
    r"arn:(?P<partition>[\w-]+):(?P<service>\w*):(?P<region>[\w-]+):(?P<account>\d+):(?P<name>[^:]*)"
)
_URL = re.compile(r"https?://(?P<host>[^/]+)/(?:.+/)?(?P<account>\d+)/(?P<name>[^/?#]+)")
_REGION = re.compile(r"(?:^|\.)sqs\.([a-z0-9-]+)\.(?:amazonaws|api\.aws)")
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.fifo)?")
_MAX_NAME = {"sqs": 80, "sns": 256}


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a topic or queue. What it does not name is None: a URL may lack the region, and a name lacks
    both account and region, which are those of the clients."""

    name: str
    account: str | None = None
    region: str | None = None
    arn: str | None = None
    url: str | None = None
    partition: str | None = None

    def of_same_account(self, name: str) -> str:
        """Return the address of the queue `name` of the same account and region."""
        given = self.arn or self.url
        return name if given is None else given.removesuffix(self.name) + name

    def require_region(self, region: str | None) -> None:
        """Raise ChannelMisconfigured when the address is in another region than the client: AWS answers only
        for its own."""
        if self.region and region and self.region != region:
            raise ChannelMisconfigured(
                f"{self.arn or self.url} is in {self.region}, the client in {region}; "
                f"use a client of {self.region}"
            )


def parse_address(value: str, service: Literal["sns", "sqs"]) -> Address:
    """Parse the name, ARN or (SQS) URL of a topic or queue. Raises ChannelMisconfigured."""
    kind = "topic" if service == "sns" else "queue"
    if match := _ARN.fullmatch(value):
        if match["service"] != service:
            raise ChannelMisconfigured(
                f"{value} is not the ARN of a {kind}; it begins with arn:aws:{service}:"
            )
        address = Address(
            match["name"], match["account"], match["region"], arn=value, partition=match["partition"]
        )
    elif service == "sqs" and (match := _URL.fullmatch(value)):
        host = _REGION.search(match["host"])
        address = Address(match["name"], match["account"], host[1] if host else None, url=value)
    else:
        address = Address(value)
    if not _NAME.fullmatch(address.name) or len(address.name) > _MAX_NAME[service]:
        forms = "name, URL or ARN" if service == "sqs" else "name or ARN"
        raise ChannelMisconfigured(
            f"{value!r} is not the {forms} of a {kind}; a name has up to {_MAX_NAME[service]} letters, "
            "digits, '-' and '_', and on FIFO the suffix .fifo"
        )
    return address


def is_name(value: str) -> bool:
    """Return whether an address is a name, and not an ARN or URL."""
    return not value.startswith(("arn:", "https://", "http://"))


def queue_name(address: str) -> str:
    """Return the name of a queue, given its address; an invalid address itself."""
    try:
        return parse_address(address, "sqs").name
    except ChannelMisconfigured:
        return address
