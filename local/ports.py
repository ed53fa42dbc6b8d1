"""Ports on the loopback interface."""

import socket

HOST = "127.0.0.1"


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
