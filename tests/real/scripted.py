"""Servers that misbehave: a polite dialogue, any step of which can be replaced."""

import contextlib
import select
import socket
import ssl
import threading
import time

PATIENCE = 25

# The commands that end a group (RFC 2920, section 3.1): nothing may follow before their reply.
LAST = {"ehlo", "helo", "lhlo", "starttls", "auth", "data", "quit"}


class Gone(Exception):
    """The connection is over, by either side."""


class Peer:
    """One connection, seen from the server."""

    def __init__(self, stream: socket.socket, server: "Server"):
        self.stream, self.server = stream, server
        self.rest = b""
        # Everything the client said, as it was after decryption, and on the wire before TLS.
        self.heard = bytearray()
        self.verbs: list[str] = []
        self.early: list[str] = []
        stream.settimeout(PATIENCE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, octets: bytes):
        try:
            self.stream.sendall(octets)
        except OSError:
            raise Gone from None

    def read(self) -> bytes:
        """Some octets more."""
        try:
            octets = self.stream.recv(65536)
        except OSError:
            raise Gone from None
        if not octets:
            raise Gone
        self.heard += octets
        return octets

    def line(self) -> bytes:
        while b"\n" not in self.rest:
            self.rest += self.read()
        line, self.rest = self.rest.split(b"\n", 1)
        return line + b"\n"

    def until_dot(self) -> bytes:
        """The message after a 354, with its dots as they came."""
        message = bytearray()
        while (line := self.line()) != b".\r\n":
            message += line
        return bytes(message)

    def exactly(self, count: int) -> bytes:
        while len(self.rest) < count:
            self.rest += self.read()
        octets, self.rest = self.rest[:count], self.rest[count:]
        return octets

    def silent(self, seconds: float) -> bool:
        """Nothing more comes for so long."""
        if self.rest or isinstance(self.stream, ssl.SSLSocket) and self.stream.pending():
            return False
        return not select.select([self.stream], [], [], seconds)[0]

    def start_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server.ca.cert, self.server.ca.key)
        try:
            self.stream = context.wrap_socket(self.stream, server_side=True)
        except (OSError, ssl.SSLError):
            raise Gone from None

    def stall(self):
        """Says nothing until the client has had enough."""
        while True:
            self.read()

    def drop(self):
        raise Gone

    def reset(self):
        """Ends the connection without any courtesy."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.drop()

    def hang_up_and_drain(self):
        """Ends the own side and takes what still comes, so that no reset overtakes the last reply."""
        with contextlib.suppress(OSError):
            self.stream.shutdown(socket.SHUT_WR)
        self.stall()


class Server:
    """Listens on a loopback port, a free one by default, while it is used as a context; `talk(peer)` holds each
    conversation."""

    def __init__(self, talk, ca=None, host: str = "127.0.0.1", port: int = 0):
        self.talk, self.ca = talk, ca
        self.peers: list[Peer] = []
        self.faults: list[BaseException] = []
        # For a step that waits until the case is done with it.
        self.done = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family)
        self.port = self.listener.getsockname()[1]
        self.url = f"smtp://[{host}]:{self.port}" if ":" in host else f"smtp://{host}:{self.port}"
        self.threads = [threading.Thread(target=self._listen, daemon=True)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, kind, value, trace):
        self.done.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in list(self.peers):
            with contextlib.suppress(OSError):
                peer.stream.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(PATIENCE)
        if kind is None and self.faults:
            raise self.faults[0]

    def _listen(self):
        with contextlib.suppress(OSError):
            while True:
                peer = Peer(self.listener.accept()[0], self)
                self.peers.append(peer)
                thread = threading.Thread(target=self._hold, args=[peer], daemon=True)
                self.threads.append(thread)
                thread.start()

    def _hold(self, peer: Peer):
        try:
            self.talk(peer)
        except Gone:
            pass
        except BaseException as fault:
            self.faults.append(fault)
        finally:
            peer.stream.close()

    @property
    def heard(self) -> bytes:
        """All that was heard over all connections."""
        return b"".join(bytes(peer.heard) for peer in self.peers)

    @property
    def verbs(self) -> list[str]:
        return [verb for peer in self.peers for verb in peer.verbs]

    @property
    def early(self) -> list[str]:
        """The commands that were followed by something before their reply, where that is not allowed."""
        return [verb for peer in self.peers for verb in peer.early]


def ehlo(*extensions: str) -> bytes:
    lines = ["server.example.org", *extensions]
    return "".join(f"250{'-' if n + 1 < len(lines) else ' '}{line}\r\n" for n, line in enumerate(lines)).encode()


def polite(implicit_tls: bool = False, **steps):
    """A conversation in which every step is answered well, but for those that are given.

    A step is the octets to say or what to do with the peer: `greeting`, a verb in lower case, `message` for what is
    said to the final dot, `body` for what is done instead of reading one, `secured` for the EHLO reply under TLS.
    A list is used up one by one; its last entry stays.
    """
    steps = {"greeting": b"220 server.example.org ESMTP\r\n",
             "ehlo": ehlo("8BITMIME"), "helo": b"250 server.example.org\r\n",
             "mail": b"250 2.1.0 ok\r\n", "rcpt": b"250 2.1.5 ok\r\n", "data": b"354 go on\r\n",
             "rset": b"250 2.0.0 ok\r\n",
             "body": Peer.until_dot, "message": b"250 2.0.0 taken\r\n", "bdat": b"250 2.0.0 taken\r\n",
             "noop": b"250 2.0.0 ok\r\n", "starttls": b"220 2.0.0 go on\r\n",
             "auth": b"235 2.7.0 welcome\r\n", "quit": b"221 2.0.0 bye\r\n",
             "unknown": b"500 5.5.1 what?\r\n"} | steps
    steps["lhlo"] = steps.get("lhlo", steps["ehlo"])

    def talk(peer: Peer):
        used = {name: 0 for name in steps}

        def step(name: str):
            act = steps[name]
            if isinstance(act, list):
                used[name] += 1
                act = act[min(used[name], len(act)) - 1]
            return act(peer) if callable(act) else peer.say(act)

        if implicit_tls:
            peer.start_tls()
        grouped = False
        step("greeting")
        while True:
            line = peer.line()
            verb = line.split()[0].decode(errors="replace").lower() if line.split() else "unknown"
            peer.verbs.append(verb.upper())
            if (verb in LAST or not grouped and verb != "bdat") and not peer.silent(0.02):
                peer.early.append(verb.upper())
            if verb == "bdat":
                peer.exactly(int(line.split()[1]))
            if verb in ("ehlo", "lhlo") and isinstance(steps[verb], bytes):
                secured = steps.get("secured", b"")
                grouped = b"PIPELINING" in steps[verb] + (secured if isinstance(secured, bytes) else b"")
            if verb == "ehlo" and "STARTTLS" in peer.verbs and "secured" in steps:
                step("secured")
                continue
            step(verb if verb in steps and verb not in ("greeting", "body", "message", "secured") else "unknown")
            if verb == "starttls" and isinstance(steps["starttls"], bytes) and steps["starttls"].startswith(b"220"):
                peer.start_tls()
            if verb == "data" and isinstance(steps["data"], bytes) and steps["data"].startswith(b"354"):
                step("body")
                if not grouped and not peer.silent(0.02):
                    peer.early.append("the final dot")
                step("message")
            if verb == "quit":
                return

    return talk


def all_of(*parts):
    """A step of several: octets are said, what can be called is done."""
    def act(peer: Peer):
        for part in parts:
            part(peer) if callable(part) else peer.say(part)
    return act


def after(octets: bytes, act):
    """A step: says something, then does something."""
    return all_of(octets, act)


def late(seconds: float, octets: bytes):
    """A step that is answered late."""
    def wait(peer: Peer):
        time.sleep(seconds)
        peer.say(octets)
    return wait


def endless(octets: bytes, limit: int = 512 << 20):
    """A step that never ends its reply; `limit` is far more than any client should swallow."""
    def flood(peer: Peer):
        block = octets * (65536 // len(octets))
        for _ in range(limit // len(block)):
            peer.say(block)
    return flood


def part_of_body(act, count: int = 1 << 16):
    """A step for `body`: reads so much of it, then does something."""
    def some(peer: Peer):
        while count > len(peer.rest):
            peer.rest += peer.read()
        peer.rest = b""
        act(peer)
    return some
