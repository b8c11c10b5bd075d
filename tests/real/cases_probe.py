"""`smtp probe`: what it says of each kind of server on the ports that mean something, of Postfix, through proxies, and of
what is no mail server; and that what it recommends works.

The well-known ports are listened on at loopback addresses of their own, each with a certificate of its own.
"""

import contextlib
import itertools
import shlex
import socket
import threading
from types import SimpleNamespace

import cases_postfix
import ports
from cases_scripted import LOGIN, SECRET, kind, never_heard
from command import Ran, Wrong
from dovecot import PASSWORD
from proxies import shown
from scripted import Peer, Server, after, all_of, ehlo, late, polite
from suite import Context, Group, check

group = Group("probe")

CLEAR = {"ehlo": ehlo("8BITMIME", "AUTH PLAIN")}
SECURE = {"ehlo": ehlo("SIZE 1000", "STARTTLS"), "secured": ehlo("SIZE 2000", "AUTH PLAIN LOGIN")}
UNDER = {"ehlo": ehlo("SIZE 2000", "AUTH PLAIN LOGIN")}
WELL_KNOWN = (465, 587, 25, 2525)

_hosts = itertools.count(2)
_one = threading.Lock()


def host() -> str:
    return f"127.0.9.{next(_hosts)}"


def certified(context: Context, address: str) -> SimpleNamespace:
    """A certificate for this address, by the authority that is trusted."""
    ca, name = context.bed.ca, f"probe-{address}"
    with _one:
        ca._leaf(name, "a mail server", f"extendedKeyUsage = serverAuth\nsubjectAltName = IP:{address}\n")
    return SimpleNamespace(cert=ca.folder / f"{name}.pem", key=ca.folder / f"{name}.key")


def probe(context: Context, place: str, *args, expect: int | tuple[int, ...], trusted: bool = True, **limits) -> Ran:
    trust = cases_postfix.trust(context) if trusted else []
    ran = context.smtp("probe", "--json", "--runtime", context.runtime, *trust, *args, place, **limits)
    if ran.status not in (expect if isinstance(expect, tuple) else (expect,)):
        raise Wrong(ran, f"exit status {ran.status}, expected {expect}")
    return ran


def validated(context: Context, ran: Ran, **limits):
    """What is recommended is what works, pasted as it is."""
    words = shlex.split(ran.report["recommended"]["line"])
    check(ran, words == ["smtp", "send", *ran.report["recommended"]["arguments"]], "another line than its words")
    pasted = context.smtp(*words[1:], "--validate", "--json", **limits)
    check(pasted, pasted.status == 0, "what is recommended does not work")
    check(pasted, pasted.report["security"]["mode"] == ran.report["recommended"]["mode"], "another mode")


def looked_at(ran: Ran, port: int) -> dict:
    return next(each for each in ran.report["ports"] if each["port"] == port)


def keywords(offer: dict) -> list[str]:
    return [each["keyword"] for each in offer["extensions"]]


@contextlib.contextmanager
def servers(context: Context, address: str, **kinds):
    """Servers on the ports that mean something: `on_465=(implicit, steps)`."""
    ca = certified(context, address)
    with contextlib.ExitStack() as after:
        yield {int(name[3:]): after.enter_context(Server(polite(implicit, **steps), ca, address, int(name[3:])))
               for name, (implicit, steps) in kinds.items()}


# All ports

@group.each("465, 587 and 25: the best is 465, and nobody waits for a greeting")
def _(context: Context):
    with servers(context, address := host(), on_465=(True, UNDER), on_587=(False, SECURE), on_25=(False, CLEAR)):
        ran = probe(context, address, "--budget", "10min", expect=0)
        check(ran, [each["port"] for each in ran.report["ports"]] == list(WELL_KNOWN), "other ports")
        check(ran, [each["mode"] for each in ran.report["ports"]] == ["implicit", "starttls", "none", None], "other modes")
        check(ran, [each["connects"] for each in ran.report["ports"]] == [True, True, True, False], "who connects")
        check(ran, ran.report["recommended"]["server"] == f"submissions://{address}", "another server")
        check(ran, looked_at(ran, 465)["certificate"]["names"] == [address], "another certificate")
        check(ran, looked_at(ran, 465)["certificate"]["issuer"] == "Throw-away root", "another issuer")
        check(ran, looked_at(ran, 465)["certificate"]["days_left"] in (1, 2), "other days")
        offers = looked_at(ran, 587)
        check(ran, keywords(offers["before_tls"]) == ["SIZE", "STARTTLS"], "another offer in clear")
        check(ran, keywords(offers["under_tls"]) == ["SIZE", "AUTH"], "another offer under TLS")
        check(ran, offers["under_tls"]["mechanisms"] == ["PLAIN", "LOGIN"], "other mechanisms")
        check(ran, offers["greeting"] == {"code": 220, "lines": ["server.example.org ESMTP"]}, "another greeting")
        validated(context, ran)


@group.each("587 alone")
def _(context: Context):
    with servers(context, address := host(), on_587=(False, SECURE)):
        ran = probe(context, address, expect=0)
        check(ran, ran.report["recommended"]["server"] == f"submission://{address}", "another server")
        check(ran, ran.report["recommended"]["hint"] == f"{address}:587/starttls", "another hint")
        validated(context, ran)


@group.each("STARTTLS on 25 alone")
def _(context: Context):
    with servers(context, address := host(), on_25=(False, SECURE)):
        ran = probe(context, address, expect=0)
        check(ran, ran.report["recommended"]["arguments"][1:4] == [f"smtp://{address}:25", "--security", "starttls"],
              "something else")
        validated(context, ran)


@group.each("clear text on 25 and 2525: 76")
def _(context: Context):
    with servers(context, address := host(), on_25=(False, CLEAR), on_2525=(False, CLEAR)) as there:
        ran = probe(context, address, *LOGIN, expect=76, **SECRET)
        kind(ran, "tls")
        check(ran, ran.report["recommended"] is None and ran.report["authentication"] is None, "something is recommended")
        for server in there.values():
            check(ran, "AUTH" not in server.verbs, "credentials in clear")
            never_heard(ran, server)


@group.each("a login: once, and only where it is secure")
def _(context: Context):
    kinds = {"on_465": (True, {"ehlo": ehlo("8BITMIME")}), "on_587": (False, SECURE), "on_25": (False, CLEAR)}
    with servers(context, address := host(), **kinds) as there:
        ran = probe(context, address, *LOGIN, expect=0, **SECRET)
        # 465 comes first, but lets nobody log in.
        check(ran, ran.report["recommended"]["server"] == f"submission://{address}", "another server")
        check(ran, ran.report["authentication"]["mechanism"] == "PLAIN", "another mechanism")
        verbs = {port: server.verbs.count("AUTH") for port, server in there.items()}
        check(ran, verbs == {465: 0, 587: 1, 25: 0}, f"AUTH was said {verbs}")
        never_heard(ran, there[25])
        validated(context, ran, **SECRET)


@group.each("a login that is refused: 77, and once")
def _(context: Context):
    steps = UNDER | {"auth": b"535 5.7.8 no\r\n"}
    with servers(context, address := host(), on_465=(True, steps)) as there:
        ran = probe(context, address, *LOGIN, expect=77, **SECRET)
        kind(ran, "auth")
        check(ran, "535" in ran.stderr and there[465].verbs.count("AUTH") == 1, "not once, or not told")
        check(ran, ran.report["recommended"], "nothing is recommended")


# Certificates

@group.each("an authority that is not known: 76, and what it is")
def _(context: Context):
    kinds = {"on_465": (True, UNDER), "on_587": (False, SECURE)}
    with servers(context, address := host(), **kinds) as there:
        ran = probe(context, address, *LOGIN, expect=76, trusted=False, **SECRET)
        kind(ran, "tls")
        for port in (465, 587):
            found = looked_at(ran, port)
            check(ran, found["certificate"]["names"] == [address] and found["certificate"]["why_not"], "not told")
            check(ran, found["tls"]["version"] == "1.3" and "AUTH" in keywords(found["under_tls"]), "not looked into")
            check(ran, "AUTH" not in there[port].verbs, "credentials to somebody unknown")
            never_heard(ran, there[port])


@group.each("the name of another: 76, and whose")
def _(context: Context):
    with Server(polite(**SECURE), context.bed.ca, host()) as server:
        ran = probe(context, server.url.removeprefix("smtp://"), expect=76)
        certificate = ran.report["ports"][0]["certificate"]
        check(ran, certificate["names"] == ["localhost", "127.0.0.1", "::1"], "other names")
        check(ran, not certificate["trusted"] and "localhost" in certificate["why_not"], "the wrong reason")


# Postfix

@group.each("Postfix, STARTTLS")
def _(context: Context):
    port = context.bed.postfix.port["submission"]
    login, known = cases_postfix.login()
    ran = probe(context, f"localhost:{port}", *login, expect=0, **known)
    found = looked_at(ran, port)
    check(ran, found["mode"] == "starttls" and "Postfix" in found["greeting"]["lines"][0], "not Postfix")
    check(ran, "AUTH" not in keywords(found["before_tls"]) and "AUTH" in keywords(found["under_tls"]), "another AUTH")
    check(ran, ran.report["authentication"]["mechanism"].startswith("SCRAM-"), "another mechanism")
    validated(context, ran, **known)


@group.each("Postfix, implicit TLS")
def _(context: Context):
    login, known = cases_postfix.login()
    ran = probe(context, f"127.0.0.1:{context.bed.postfix.port['smtps']}", *login, expect=0, **known)
    check(ran, ran.report["ports"][0]["mode"] == "implicit", "not implicit")
    validated(context, ran, **known)


@group.each("Postfix, a wrong password: 77")
def _(context: Context):
    login, known = cases_postfix.login("not " + PASSWORD)
    ran = probe(context, f"127.0.0.1:{context.bed.postfix.port['smtps']}", *login, expect=77, **known)
    kind(ran, "auth")


@group.each("Postfix, a client certificate: 0 with it, 75 without, and it is recommended")
def _(context: Context):
    ca, place = context.bed.ca, f"127.0.0.1:{context.bed.postfix.port['mutual']}"
    ran = probe(context, place, "--client-cert", ca.client_cert, "--client-key", ca.client_key, expect=0)
    check(ran, str(ca.client_cert) in ran.report["recommended"]["arguments"], "it is not recommended")
    validated(context, ran)
    ran = probe(context, place, expect=75)
    check(ran, "client certificate" in ran.report["error"]["text"], "the server's words are lost")


@group.each("--tls-name: another name than the host's, and one that the certificate is not for; --tls-max")
def _(context: Context):
    place = f"127.0.0.1:{context.bed.postfix.port['smtps']}"
    ran = probe(context, place, "--tls-name", "localhost", "--tls-max", "1.2", expect=0)
    check(ran, ran.report["ports"][0]["tls"]["version"] == "1.2", "another version")
    validated(context, ran)
    ran = probe(context, place, "--tls-name", "elsewhere.example.org", expect=76)
    check(ran, "elsewhere.example.org" in ran.report["ports"][0]["certificate"]["why_not"], "another reason")


@group.each("Postfix, a table for people")
def _(context: Context):
    port = context.bed.postfix.port["submission"]
    ran = context.smtp("probe", *cases_postfix.trust(context), "--runtime", context.runtime, f"localhost:{port}")
    lines = ran.stdout.splitlines()
    check(ran, ran.status == 0 and "\x1b" not in ran.stdout, "coloured, or failed")
    # What is to be pasted is not broken.
    check(ran, all(len(line) <= 100 for line in lines if "smtp send" not in line), "a line that is too long")
    check(ran, any("smtp send --server smtp://localhost" in line for line in lines), "nothing to be pasted")


# Proxies

for name, scheme, where, place in [
    ("socks4, to a name resolved here", "socks4", "ssh", "localhost"), ("socks5h", "socks5h", "socks", "localhost"),
    ("socks5h with a user", "socks5h", "socks_user", "localhost"), ("http", "http", "http", "127.0.0.1"),
    ("http with Basic", "http", "http_user", "localhost"), ("https", "https", "tls", "127.0.0.1"),
]:
    @group.each(f"through {name}")
    def _(context: Context, scheme=scheme, where=where, place=place):
        proxy = context.bed.proxies.url(scheme, where, host="localhost" if place == "127.0.0.1" else "127.0.0.1")
        ran = probe(context, f"{place}:{context.bed.postfix.port['clear']}", "--proxy", proxy, expect=0)
        check(ran, ran.report["route"] == [shown(proxy)], "another route")
        check(ran, ran.report["ports"][0]["mode"] == "starttls", "not STARTTLS")
        check(ran, "proxy" in [each["phase"] for each in ran.report["ports"][0]["times"]], "no time at the proxy")
        check(ran, ran.report["recommended"]["hint"] is None, "a hint that leads to the proxy")
        if "_user" not in where:
            validated(context, ran)


@group.each("through an https proxy, to a server whose certificate is not known: the proxy's is verified")
def _(context: Context):
    proxy = context.bed.proxies.url("https", "tls", host="localhost")
    ran = probe(context, f"127.0.0.1:{context.bed.postfix.port['clear']}", "--proxy", proxy, expect=76, trusted=False)
    check(ran, ran.report["error"]["hop"] == 1, "not the proxy's")


@group.each("a proxy that refuses: 69")
def _(context: Context):
    proxy = context.bed.proxies.url("http", "http")
    ran = probe(context, f"127.0.0.1:{context.bed.proxies.forbidden}", "--proxy", proxy, expect=69)
    check(ran, ran.report["error"]["hop"] == 1 and not ran.report["ports"][0]["connects"], "not by the proxy")


@group.each("a proxy that is not there: 69")
def _(context: Context):
    ran = probe(context, "mail.example.org", "--proxy", f"socks5h://127.0.0.1:{context.bed.proxies.closed}", expect=69)
    check(ran, ran.report["error"]["hop"] == 1 and len(ran.report["ports"]) == 4, "not the proxy")


# What cannot be reached, and what is no mail server

@group.each("a name that is not found: 68")
def _(context: Context):
    kind(probe(context, "nowhere.invalid", expect=68), "resolve")


@group.each("nobody listens: 69")
def _(context: Context):
    ran = probe(context, host(), expect=69)
    check(ran, not any(each["connects"] for each in ran.report["ports"]), "somebody does")
    check(ran, all(str(port) in ran.report["error"]["text"] for port in WELL_KNOWN), "not all are told")


@group.each("nobody takes the connection: 69, in time")
def _(context: Context):
    # With its queue full, a listener does not answer any more.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        ran = probe(context, f"127.0.0.1:{listener.getsockname()[1]}", "--budget", "2s", expect=69)
        check(ran, ran.seconds < 3.5, "longer than the budget")


def hopeless(name: str, expect: int | tuple[int, ...], kinds: tuple[str, ...], speaks: str, *steps):
    @group.each(f"{name}: {expect}")
    def _(context: Context):
        with Server(all_of(*steps)) as server:
            ran = probe(context, server.url.removeprefix("smtp://"), *LOGIN, "--budget", "2s", expect=expect, **SECRET)
            check(ran, ran.seconds < 3.5, "longer than the budget")
            kind(ran, *kinds)
            expected = None if ran.status == 69 else speaks
            check(ran, ran.report["ports"][0]["speaks"] == expected, f"does not speak {expected}")
            never_heard(ran, server)


hopeless("silent for ever", 75, ("timeout",), "nothing", Peer.stall)
hopeless("closes at once", 75, ("closed",), "nothing", Peer.drop)
# Whether the connection was open before depends on who is faster.
hopeless("resets at once", (69, 75), ("closed", "connect"), "nothing", Peer.reset)
hopeless("answers with an HTTP error", 76, ("protocol",), "other", Peer.read,
         after(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", Peer.drop))
hopeless("answers a ClientHello with a TLS alert", 76, ("tls",), "tls", Peer.read, after(b"\x15\3\3\0\2\2\x28", Peer.drop))
hopeless("speaks another protocol", 76, ("protocol",), "other", after(b"+OK POP3 server ready\r\n", Peer.stall))
hopeless("stalls after its greeting", 75, ("timeout",), "smtp", after(b"220 hello\r\n", Peer.stall))
hopeless("refuses all comers", 65, ("refused",), "smtp", after(b"554 5.3.2 no\r\n", Peer.stall))


@group.each("STARTTLS, the greeting after 3 s")
def _(context: Context):
    with Server(polite(greeting=late(3, b"220 at last\r\n"), **SECURE), context.bed.ca) as server:
        ran = probe(context, server.url.removeprefix("smtp://"), expect=0)
        check(ran, ran.report["ports"][0]["mode"] == "starttls", "not STARTTLS")


@group.each("STARTTLS that is offered and refused: 76")
def _(context: Context):
    with Server(polite(starttls=b"454 4.7.0 not now\r\n", **SECURE), context.bed.ca) as server:
        ran = probe(context, server.url.removeprefix("smtp://"), expect=76)
        check(ran, ran.report["ports"][0]["starttls"] is True and "454" in ran.stderr, "not told")


if ports.ipv6():
    @group.each("an address of version six")
    def _(context: Context):
        with Server(polite(**SECURE), context.bed.ca, "::1") as server:
            ran = probe(context, server.url.removeprefix("smtp://"), expect=0)
            check(ran, ran.report["recommended"]["server"] == server.url, "another server")
            validated(context, ran)
