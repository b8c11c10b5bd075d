"""Scripted proxies: each takes one handshake, notes what was asked, and goes on as the case wants."""

import base64
import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass

from scripted import PATIENCE, Gone, Peer, Server


@dataclass
class Asked:
    """What a client wanted of a proxy; `form` is how it named the host: "address" or "name"."""
    form: str
    host: str
    port: int
    login: tuple[str, str] | None = None


def whole(peer: Peer, octets: bytes):
    peer.say(octets)


def drop_by_drop(peer: Peer, octets: bytes):
    """Each octet in a segment of its own, and the first ones so late that they are read one by one."""
    for n in range(len(octets)):
        peer.say(octets[n:n + 1])
        if n < 64:
            time.sleep(0.001)


def _until_nul(peer: Peer) -> str:
    octets = b""
    while (octet := peer.exactly(1)) != b"\0":
        octets += octet
    return octets.decode()


def socks4(peer: Peer, say=whole, behind: bytes = b"", login=None, code: int = 90) -> Asked:
    """SOCKS4 and 4a; `behind` goes out glued to the reply."""
    version, command, port, address = struct.unpack(">BBH4s", peer.exactly(8))
    assert (version, command) == (4, 1), f"no SOCKS4 request: {version} {command}"
    user = _until_nul(peer)
    named = address[:3] == b"\0\0\0" and address[3:] != b"\0"
    asked = Asked("name", _until_nul(peer), port) if named else Asked("address", socket.inet_ntoa(address), port)
    asked.login = (user, "") if user else None
    say(peer, bytes([0, code]) + bytes(6) + behind)
    return asked


def socks5(peer: Peer, say=whole, behind: bytes = b"", login: tuple[str, str] | None = None,
           code: int = 0) -> Asked:
    version, count = peer.exactly(2)
    assert version == 5, f"no SOCKS5 greeting: {version}"
    methods = peer.exactly(count)
    wanted = 2 if login else 0
    assert wanted in methods, f"method {wanted} is not offered: {methods!r}"
    say(peer, bytes([5, wanted]))
    shown = None
    if login:
        assert peer.exactly(1) == b"\1", "another version of RFC 1929"
        shown = tuple(peer.exactly(peer.exactly(1)[0]).decode() for _ in range(2))
        say(peer, b"\1" + bytes([shown != login]))
        if shown != login:
            raise Gone
    head = peer.exactly(4)
    assert head[:3] == b"\5\1\0", f"no CONNECT: {head!r}"
    if head[3] == 3:
        form, host = "name", peer.exactly(peer.exactly(1)[0]).decode()
    else:
        family, size = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}[head[3]]
        form, host = "address", socket.inet_ntop(family, peer.exactly(size))
    asked = Asked(form, host, struct.unpack(">H", peer.exactly(2))[0], shown)
    say(peer, bytes([5, code, 0, 1]) + bytes(6) + behind)
    return asked


def http(peer: Peer, say=whole, behind: bytes = b"", login: tuple[str, str] | None = None,
         reply: bytes = b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n", refuse=lambda shown: b"407 Who are you") -> Asked:
    """CONNECT; with a login, one that is missing is asked for on the same connection."""
    while True:
        head = [peer.line().decode().rstrip("\r\n")]
        while head[-1]:
            head.append(peer.line().decode().rstrip("\r\n"))
        verb, target, version = head[0].split(" ")
        assert verb == "CONNECT" and version == "HTTP/1.1", head[0]
        fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in head[1:-1])}
        assert fields["host"] == target, f"Host is {fields['host']}, not {target}"
        shown = fields.get("proxy-authorization")
        pair = tuple(base64.b64decode(shown.split()[1]).decode().split(":", 1)) if shown else None
        if pair == login or not login:
            break
        say(peer, b"HTTP/1.1 " + refuse(shown) + b'\r\nProxy-Authenticate: Basic realm="r", charset="UTF-8"\r\n'
                  b"Content-Length: 4\r\n\r\nasks")
        if pair:
            raise Gone
    host, port = target.rsplit(":", 1)
    form = "address" if host.strip("[]").replace(".", "").replace(":", "").isdigit() else "name"
    say(peer, reply + behind)
    return Asked(form, host, int(port), pair)


def now_and_then(octets: bytes, every: float = 0.3):
    """A step that never ends and never pauses for long."""
    def trickle(peer: Peer):
        while not peer.server.done.wait(every):
            peer.say(octets)
    return trickle


KINDS = {"socks4": socks4, "socks4a": socks4, "socks5": socks5, "socks5h": socks5, "http": http, "https": http}


def relay(scheme: str, port: int, *, say=whole, login: tuple[str, str] | None = None, cut: int = 65536):
    """A conversation: a proxy that leads to `port` whatever it is asked for; the client gets `cut` octets at a time.

    Not over TLS, which is not for two threads: stunnel does that.
    """
    def talk(peer: Peer):
        peer.asked = KINDS[scheme](peer, say=say, login=login)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=pump, args=[server, peer.stream, cut], daemon=True)
            back.start()
            server.sendall(peer.rest)
            pump(peer.stream, server, 65536)
            back.join(PATIENCE)
    return talk


def pump(source: socket.socket, to: socket.socket, cut: int):
    with contextlib.suppress(OSError):
        while octets := source.recv(65536):
            for at in range(0, len(octets), cut):
                to.sendall(octets[at:at + cut])
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def ahead(scheme: str, then, *, say=whole, greeting: bytes = b"", **how):
    """A conversation: the handshake with the greeting glued to its reply, then `then(peer)` on the same stream."""
    def talk(peer: Peer):
        if scheme == "https":
            peer.start_tls()
        peer.asked = KINDS[scheme](peer, say=say, behind=greeting, **how)
        then(peer)
    return talk


def asked(server: Server) -> list[Asked]:
    """What was asked over all connections, handshakes that were cut short left out."""
    return [peer.asked for peer in server.peers if hasattr(peer, "asked")]
