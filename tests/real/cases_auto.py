"""`--security auto` on real sockets: what each kind of server is taken for, on the ports that mean something too, and
what is said to one that is none.

The well-known ports are listened on at loopback addresses of their own. A silence is told from a refusal by its length,
so each server that is to be recognised at once gets a limit that would show.
"""

import itertools
import time

from cases_postfix import trust
from cases_scripted import HELLO, LOGIN, SECRET, kind, never_heard
from scripted import Peer, Server, after, all_of, ehlo, late, polite
from suite import Context, Group, check

group = Group("auto")

SECURE = {"ehlo": ehlo("STARTTLS", "AUTH PLAIN"), "secured": ehlo("AUTH PLAIN")}
KINDS = {"clear text": (False, {"ehlo": ehlo("8BITMIME")}, "none"),
         "STARTTLS": (False, SECURE, "starttls"),
         "implicit TLS": (True, {"ehlo": ehlo("AUTH PLAIN")}, "implicit")}

_hosts = itertools.count(2)


def sent(context: Context, server: Server, *args, expect: int | tuple[int, ...]):
    return context.send(server.url, "--security", "auto", *trust(context), "--tls-name", "localhost", *args,
                        "--message", context.file(HELLO), expect=expect, **SECRET)


def found(name: str, port: int, *, waits: bool = False):
    """The server is found out on that port; where one has to wait for it, no longer than for a greeting."""
    implicit, steps, mode = KINDS[name]

    @group.each(f"{name} on {port or 'any port'}")
    def _(context: Context):
        limit = 1 if waits else 6
        login = LOGIN if mode != "none" else ()
        with Server(polite(implicit, **steps), context.bed.ca, f"127.0.0.{next(_hosts)}", port) as server:
            begin = time.monotonic()
            ran = sent(context, server, *login, "--greeting-timeout", f"{limit}s", expect=0)
            check(ran, time.monotonic() - begin < (6 if waits else 4), "waited in vain")
            check(ran, ran.report["security"]["mode"] == mode, f"not {mode}")
            check(ran, b"Hello." in server.heard, "the message is elsewhere")
            if mode == "starttls":
                first = server.heard.split(b"STARTTLS")[0]
                check(ran, b"AUTH" not in first and b"MAIL" not in first, "said in clear")


for port in (25, 587, 2525, 0):
    found("clear text", port)
    found("STARTTLS", port)
found("implicit TLS", 465)
found("implicit TLS", 0, waits=True)


@group.each("clear text, and credentials: 77, and they stay here")
def _(context: Context):
    with Server(polite(ehlo=ehlo("AUTH PLAIN LOGIN"))) as server:
        ran = sent(context, server, *LOGIN, expect=77)
        check(ran, not {"AUTH", "MAIL"} & set(server.verbs), f"heard {server.verbs}")
        never_heard(ran, server)


@group.each("STARTTLS, the greeting after 3 s")
def _(context: Context):
    with Server(polite(greeting=late(3, b"220 at last\r\n"), **SECURE), context.bed.ca) as server:
        ran = sent(context, server, *LOGIN, expect=0)
        check(ran, ran.report["security"]["mode"] == "starttls", "not STARTTLS")


def hopeless(name: str, expect: int | tuple[int, ...], kinds: tuple[str, ...], *steps):
    @group.each(f"{name}: {expect}")
    def _(context: Context):
        with Server(all_of(*steps)) as server:
            begin = time.monotonic()
            ran = sent(context, server, *LOGIN, "--greeting-timeout", "1s", "--timeout", "3s", expect=expect)
            check(ran, time.monotonic() - begin < 3.6, "longer than the limit")
            kind(ran, *kinds)
            never_heard(ran, server)
            check(ran, b"Hello." not in server.heard and not server.verbs, "said to no server")


hopeless("silent for ever", 75, ("timeout",), Peer.stall)
hopeless("closes at once", (69, 75), ("closed", "connect"), Peer.drop)
hopeless("resets at once", (69, 75), ("closed", "connect"), Peer.reset)
# The ClientHello is the first thing that such a server hears.
hopeless("closes on a ClientHello", (75, 76), ("closed", "tls"), Peer.read, Peer.drop)
hopeless("resets on a ClientHello", (75, 76), ("closed", "tls"), Peer.read, Peer.reset)
hopeless("answers a ClientHello with an HTTP error", 76, ("tls", "protocol"), Peer.read,
         after(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", Peer.drop))
hopeless("answers a ClientHello with a TLS alert", 76, ("tls",), Peer.read, after(b"\x15\3\3\0\2\2\x28", Peer.drop))
hopeless("speaks another protocol", 76, ("protocol",), after(b"+OK POP3 server ready\r\n", Peer.stall))
