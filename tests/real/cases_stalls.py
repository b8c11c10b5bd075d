"""A server, a proxy or a port that goes silent, at every phase and on every kind of wire: the right phase is named, at
the right time.

The limit is that of the operation: connecting until the session is ready, then each message. Its beginning is noted by
the server, its end is the command's, and a fifth more or less is granted.
"""

import contextlib
import socket
import time

import messages
from cases_postfix import trust
from cases_proxies import through
from cases_scripted import CLEAR, HELLO, LOGIN, LONG, SECRET, kind, phase, results
from proxies import url
from scripted import Peer, Server, after, all_of, ehlo, part_of_body, polite
from suite import Context, Group, check

group = Group("stalls")

LIMIT = 2.0
LIMITS = ("--timeout", f"{LIMIT:.0f}s", "--greeting-timeout", f"{LIMIT:.0f}s", "--connect-timeout", f"{LIMIT:.0f}s")
CLEAR_LOGIN = (*LOGIN, "--auth", "PLAIN", "--danger-allow-clear-text-auth")
CHUNKING = {"ehlo": ehlo("PIPELINING", "CHUNKING", "8BITMIME")}


class Clock:
    """When the operation that stalls began."""
    began = 0.0

    def start(self):
        self.began = time.monotonic()

    def starts(self, step):
        """The step, and the clock."""
        def act(peer: Peer):
            self.start()
            step(peer) if callable(step) else peer.say(step)
        return act

    def check(self, ran):
        spent = time.monotonic() - self.began
        check(ran, 0.8 * LIMIT < spent < 1.2 * LIMIT, f"{spent:.2f} s instead of {LIMIT} s")


def two_hops(context: Context) -> list[str]:
    """Two real proxies, one behind the other."""
    return through(context.bed.proxies.url("socks5h", "socks"), context.bed.proxies.url("socks5", "ssh"))


# How the server is reached: the options, and whether TLS is up before the greeting.
WIRES = {
    "clear": (lambda context: [*CLEAR], False),
    "TLS": (lambda context: ["--security", "implicit", *trust(context)], True),
    "two hops": (lambda context: [*CLEAR, *two_hops(context)], False),
    "TLS, two hops": (lambda context: ["--security", "implicit", *trust(context), *two_hops(context)], True),
}


ONE = ("clear",)


def stall(name: str, where: str, *args, wires=tuple(WIRES), content: bytes = HELLO, expect: int = 75,
          security: str | None = None, settled: int = 0, **steps):
    """A case for each wire. The clock starts with MAIL where the session is ready, with the connection otherwise."""
    in_message = where in ("MAIL", "RCPT", "DATA", "data block", "final dot")
    for wire in wires:
        @group.each(f"{name}, {wire}: {expect}")
        def _(context: Context, wire=wire):
            options, implicit = WIRES[wire]
            options = options(context)
            if security:
                options[options.index("--security") + 1] = security
                options += trust(context)
            clock = Clock()
            acts = {"mail": b"250 2.1.0 ok\r\n"} | steps
            if in_message:
                talk = polite(implicit, **acts | {"mail": clock.starts(acts["mail"])})
            else:
                talk = clock.starts(polite(implicit, **acts))
            with Server(talk, context.bed.ca) as server:
                ran = context.send(server.url, *options, *args, *LIMITS, "--message", context.file(content),
                                   expect=expect, **SECRET)
                clock.check(ran)
            kind(ran, "timeout")
            phase(ran, where)
            check(ran, ran.report["error"]["hop"] is None, "a hop is blamed")
            if in_message:
                allowed = {"unknown"} if expect == 74 else {"deferred", "not-sent"}
                check(ran, set(results(ran)[settled:]) <= allowed, f"results {results(ran)}")
                check(ran, set(results(ran)[:settled]) <= {"accepted"}, f"results {results(ran)}")
            check(ran, len(server.peers) == 1, f"{len(server.peers)} connections")


# The server

stall("greeting", "greeting", greeting=Peer.stall)
stall("half a greeting", "greeting", wires=ONE, greeting=after(b"220-server.example.org\r\n220 a", Peer.stall))
stall("EHLO", "EHLO", ehlo=Peer.stall)
stall("half a reply to EHLO", "EHLO", wires=ONE, ehlo=after(b"250-server.example.org\r\n", Peer.stall))
stall("HELO", "EHLO", wires=ONE, ehlo=b"502 5.5.1 not implemented\r\n", helo=Peer.stall)
stall("AUTH", "AUTH", *CLEAR_LOGIN, ehlo=ehlo("AUTH PLAIN"), auth=Peer.stall)
stall("AUTH, after a challenge", "AUTH", *LOGIN, wires=ONE, ehlo=ehlo("AUTH CRAM-MD5"),
      auth=after(b"334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n", Peer.stall))
stall("MAIL", "MAIL", mail=Peer.stall)
stall("RCPT", "RCPT", rcpt=Peer.stall)
stall("RCPT in a group", "RCPT", wires=ONE, ehlo=ehlo("PIPELINING"), rcpt=Peer.stall)
stall("DATA", "DATA", data=Peer.stall)
stall("data block", "data block", content=messages.big("stalled", LONG),
      body=part_of_body(lambda peer: peer.server.done.wait(15)))
stall("final dot", "final dot", expect=74, message=Peer.stall)
stall("BDAT LAST", "final dot", expect=74, bdat=Peer.stall, **CHUNKING)
stall("half a reply to the message", "final dot", wires=ONE, expect=74, message=after(b"250-2.0.0 tak", Peer.stall))
stall("the second reply of LMTP", "final dot", "--lmtp", "--to", "bob@example.org", wires=ONE, expect=74,
      message=after(b"250 2.0.0 for the first\r\n", Peer.stall), settled=1)

# Of STARTTLS, and behind it

OFFER = {"ehlo": ehlo("STARTTLS", "8BITMIME")}
BOTH = {"wires": ("clear", "two hops"), "security": "starttls"}

stall("STARTTLS", "STARTTLS", starttls=Peer.stall, **OFFER, **BOTH)
stall("handshake after STARTTLS", "TLS handshake", starttls=after(b"220 2.0.0 go on\r\n", Peer.stall), **OFFER, **BOTH)
stall("EHLO after STARTTLS", "EHLO", secured=Peer.stall, **OFFER, **BOTH)
stall("MAIL after STARTTLS", "MAIL", mail=Peer.stall, **OFFER, **BOTH)
stall("final dot after STARTTLS", "final dot", expect=74, message=Peer.stall, **OFFER, **BOTH)

for wire in ("TLS", "TLS, two hops"):
    @group.each(f"handshake, {wire}: 75")
    def _(context: Context, wire=wire):
        clock = Clock()
        with Server(clock.starts(Peer.stall)) as server:
            options = WIRES[wire][0](context)
            ran = context.send(server.url, *options, *LIMITS, "--message", context.file(HELLO), expect=75)
            clock.check(ran)
        kind(ran, "timeout")
        phase(ran, "TLS handshake")
        check(ran, ran.report["error"]["hop"] is None, "a hop is blamed")


# The hops

for scheme, steps in [("socks4a", ()), ("socks5h", ()), ("http", ()), ("https", ()), ("https", (Peer.start_tls,)),
                      ("socks5h", (Peer.read, b"\5\0")), ("http", (Peer.read, b"HTTP/1.1 200 OK\r\nDate:"))]:
    for hop in (1, 2):
        @group.each(f"{scheme} as hop {hop}, after {len(steps)} steps: 75")
        def _(context: Context, scheme=scheme, steps=steps, hop=hop):
            clock = Clock()
            with Server(clock.starts(all_of(*steps, Peer.stall)), context.bed.ca) as server:
                before = [context.bed.proxies.url("socks5h", "socks")] * (hop - 1)
                ran = context.send("smtp://localhost:25", *CLEAR, *trust(context), *LIMITS,
                                   *through(*before, url(scheme, server.port, host="localhost")), expect=75)
                clock.check(ran)
            kind(ran, "timeout")
            check(ran, ran.report["error"]["hop"] == hop, f"hop {ran.report['error']['hop']}")


# The port

@contextlib.contextmanager
def full():
    """A port whose queue is full: nothing is refused and nothing accepted."""
    with contextlib.ExitStack() as held, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        while True:
            waiting = held.enter_context(socket.socket())
            waiting.settimeout(0.3)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]


@group.each("connect: 69 or 75")
def _(context: Context):
    with full() as port:
        for route, hop in [([], None), (through(url("socks5h", port)), 1)]:
            clock = Clock()
            clock.start()
            ran = context.send(f"smtp://127.0.0.1:{port}", *CLEAR, *route, *LIMITS, expect=(69, 75))
            clock.check(ran)
            kind(ran, "timeout", "connect")
            phase(ran, "connect")
