"""What the kernel is asked to watch for us on each connection: peers that are gone, and peers that do not read."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from contextlib import closing
from pathlib import Path

CONNECTIONS = 4096
"""Open connections of one process. More wait in the kernel's queue, as long, until somebody hangs up."""
FILES = 65_536
HEAD_S = 10
"""How long a head may take to come, and a kept connection may be silent."""
STALL_S = 20
"""How long a peer may leave what we sent unconfirmed, or its window shut."""
_LOOK_S = 0.2
_LOOKS = 100


def room_for_connections() -> int:
    """How many connections a process may have open, after asking for as many files as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(64, min(CONNECTIONS, soft // 2))


async def guard_listeners() -> int:
    """Set the limits on this process's listening sockets, from which each connection takes them over (Linux).

    The sockets are made inside granian, and are found among the process's own files. Returns how many there were.
    """
    for _ in range(_LOOKS if sys.platform == "linux" else 0):
        if found := _guard_all():
            return found
        await asyncio.sleep(_LOOK_S)
    return 0


def _guard_all() -> int:
    return sum(_guard(int(file.name)) for file in list(Path("/proc/self/fd").iterdir()))


def _guard(number: int) -> bool:
    """Set the limits if the file is a listening TCP socket."""
    try:
        copy = socket.socket(fileno=os.dup(number))
    except OSError:  # no socket, or gone meanwhile
        return False
    with closing(copy):
        if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.type != socket.SOCK_STREAM:
            return False
        if not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, STALL_S)
        copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, STALL_S // 4))
        copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_S * 1000)
        return True
