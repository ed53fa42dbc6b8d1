"""Ports of the system's programs on the loopback interface."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from local.services import SERVICES, variable

HOST = "127.0.0.1"

_DEFAULTS = {**{each.name: each.port for each in SERVICES}, "aws": 4566}


class InvalidPort(Exception):
    """A port is no port, taken or used twice. The message names the environment variable to change."""


@dataclass(frozen=True)
class Ports:
    """Port of each service by name, and of the local SNS/SQS server under `aws`."""

    by_name: Mapping[str, int]

    @classmethod
    def free(cls) -> "Ports":
        return cls(dict(zip(_DEFAULTS, free_ports(len(_DEFAULTS)), strict=True)))

    @classmethod
    def from_environment(cls) -> "Ports":
        """Return the ports that `<NAME>_PORT` set, and the usual ones. Raises InvalidPort."""
        return cls({name: _configured(name, usual) for name, usual in _DEFAULTS.items()})

    def __getitem__(self, name: str) -> int:
        return self.by_name[name]

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self[name]}"

    def check(self) -> None:
        """Raises InvalidPort if two are equal, or one is in use."""
        names: dict[int, str] = {}
        for name, port in self.by_name.items():
            other = names.setdefault(port, name)
            if other != name:
                raise InvalidPort(f"port {port} is that of {other} and {name}: {_change(name)}")
        for port, name in names.items():
            if is_taken(port):
                raise InvalidPort(f"port {port} ({name}) is in use: stop its program, or {_change(name)}")


def _change(name: str) -> str:
    return f"choose another with {variable(name, 'PORT')}=…"


def _configured(name: str, usual: int) -> int:
    value = os.environ.get(variable(name, "PORT")) or str(usual)
    if not value.isdecimal() or not 0 < int(value) < 65_536:
        raise InvalidPort(f"{variable(name, 'PORT')}={value} is no port: it is a number from 1 to 65535")
    return int(value)


def free_ports(count: int) -> list[int]:
    """Return distinct ports that are free at present."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def is_taken(port: int) -> bool:
    """Return True when a program already listens on the port."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return True
    return False
