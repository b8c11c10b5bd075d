"""Free loopback ports, closed ones, and waiting until somebody listens on one."""

import contextlib
import random
import socket
import time
from pathlib import Path


def free(count: int, host: str = "127.0.0.1") -> list[int]:
    """All are held until the last is found, so that no two are the same."""
    held = [socket.create_server((host, 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def quiet(count: int) -> list[int]:
    """Free ones that the system gives to nobody by itself, and that so stay free until somebody listens there."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with contextlib.ExitStack() as held:
        found = []
        while len(found) < count:
            port = random.randrange(max(1024, lowest - 12_000), lowest)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


@contextlib.contextmanager
def closed():
    """A port that refuses connections: held, so that nobody takes it meanwhile, but not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def wait(port: int, seconds: float = 20):
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"nobody listens on port {port}") from None
            time.sleep(0.05)
