"""A client of proxies in a few lines, to try them without the command: as curl would, and nothing cleverer."""

import base64
import socket
import ssl
import struct
from urllib.parse import unquote, urlsplit


class Refused(Exception):
    """A proxy said no, or nothing: the number of the hop and what it said."""


def _exactly(stream, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        if not (some := stream.recv(count - len(octets))):
            raise EOFError(f"closed after {octets!r}")
        octets += some
    return octets


def _socks4(stream, host: str, port: int, user: str, by_name: bool):
    address, name = (b"\0\0\0\1", host.encode() + b"\0") if by_name else (socket.inet_aton(host), b"")
    stream.sendall(struct.pack(">BBH4s", 4, 1, port, address) + user.encode() + b"\0" + name)
    reply = _exactly(stream, 8)
    if reply[:2] != b"\0\x5a":
        raise ValueError(repr(reply))


def _socks5(stream, host: str, port: int, user: str | None, password: str, by_name: bool):
    stream.sendall(b"\5\1\0" if user is None else b"\5\2\0\2")
    reply = _exactly(stream, 2)
    if reply == b"\5\2" and user is not None:
        said = [text.encode() for text in (user, password)]
        stream.sendall(b"\1" + b"".join(bytes([len(each)]) + each for each in said))
        reply = _exactly(stream, 2)
        if reply[1]:
            raise ValueError(repr(reply))
    elif reply != b"\5\0":
        raise ValueError(repr(reply))
    name = host.encode()
    address = b"\3" + bytes([len(name)]) + name if by_name else b"\1" + socket.inet_aton(host)
    stream.sendall(b"\5\1\0" + address + struct.pack(">H", port))
    reply = _exactly(stream, 4)
    if reply[1]:
        raise ValueError(repr(reply))
    _exactly(stream, {1: 4, 4: 16, 3: 0}[reply[3]] + 2)


def _http(stream, host: str, port: int, user: str | None, password: str):
    basic = "" if user is None else \
        f"Proxy-Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    stream.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{basic}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += _exactly(stream, 1)
    if head.split()[1] != b"200":
        raise ValueError(head.splitlines()[0].decode())


def through(route: list[str], host: str, port: int, ca, seconds: float = 10):
    """A stream to host and port through the proxies, one of which at most is https."""
    hops = [urlsplit(proxy) for proxy in route]
    stream = socket.create_connection((hops[0].hostname, hops[0].port), seconds)
    targets = [(hop.hostname, hop.port) for hop in hops[1:]] + [(host, port)]
    for number, (hop, target) in enumerate(zip(hops, targets), 1):
        user = None if hop.username is None else unquote(hop.username)
        password = unquote(hop.password or "")
        try:
            if hop.scheme in ("socks4", "socks5"):
                target = socket.gethostbyname(target[0]), target[1]
            if hop.scheme == "https":
                trusting = ssl.create_default_context(cafile=str(ca))
                stream = trusting.wrap_socket(stream, server_hostname=hop.hostname)
            match hop.scheme:
                case "socks4": _socks4(stream, *target, user or "", False)
                case "socks4a": _socks4(stream, *target, user or "", True)
                case "socks5": _socks5(stream, *target, user, password, False)
                case "socks5h": _socks5(stream, *target, user, password, True)
                case "http" | "https": _http(stream, *target, user, password)
        except (OSError, EOFError, ValueError) as error:
            stream.close()
            raise Refused(number, str(error)) from error
    return stream
