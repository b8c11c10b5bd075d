"""The command through proxies: alone and in chains, what is sent arrives in Postfix, octet for octet."""

import functools
from urllib.parse import unquote

import cases_postfix
import messages
import ports
import relay
from cases_bed_proxies import CHAINS
from cases_postfix import HELLO, trust
from dovecot import PASSWORD
from proxies import SOCKS_PASSWORD, SOCKS_USER, shown, url
from scripted import Server, polite
from suite import Context, Group, check

group = Group("proxy")

# Postfix demands a login at its port of implicit TLS.
MODES = {"starttls": "clear", "implicit": "smtps"}
LOGIN = (SOCKS_USER, SOCKS_PASSWORD)
# Basic has no colon in a user (RFC 7617, section 2), SOCKS4 no password.
HTTP_LOGIN, SOCKS4_LOGIN = ("proxy@user/7 %é", SOCKS_PASSWORD), (SOCKS_USER, "")
LOGINS = {"socks4": SOCKS4_LOGIN, "socks4a": SOCKS4_LOGIN, "socks5": LOGIN, "socks5h": LOGIN, "http": HTTP_LOGIN}


def secrets(*proxies: str) -> tuple[str, ...]:
    """The passwords of the proxies, as they stand in the URLs and decoded."""
    return tuple(form for proxy in proxies if "@" in proxy for password in [proxy.rsplit("@")[-2].split(":")[-1]]
                 for form in (password, unquote(password)) if password)


def through(*proxies: str) -> list[str]:
    return [part for proxy in proxies for part in ("--proxy", proxy)]


def deliver(context: Context, mode: str, route: list[str], *args, host: str = "127.0.0.1", content: bytes = HELLO,
            env: dict | None = None, security: str | None = None, options: list[str] | None = None, **limits):
    """Delivers one message over the route; `options` stand for it where it is not given by `--proxy`."""
    login, known = cases_postfix.login() if mode == "implicit" else ([], {"env": {}})
    ran = cases_postfix.deliver(
        context, MODES[mode], content, "--security", security or mode, "--transcript", *trust(context), *login,
        *(through(*route) if options is None else options), *args, host=host, env=known["env"] | (env or {}),
        secrets=(PASSWORD, *secrets(*route)), **limits)
    check(ran, ran.report["route"] == [shown(proxy) for proxy in route], "another route")
    check(ran, ran.report["server"]["host"] == host, "another server")
    check(ran, ran.report["security"]["mode"] == mode and ran.report["security"]["tls"] == "1.3", f"not {mode}")
    return ran


def proxy(context: Context, scheme: str, name: str) -> str:
    return context.bed.proxies.url(scheme, name)


# Each alone

for name, scheme, where, host in [
    ("socks4, to an address", "socks4", "ssh", "127.0.0.1"),
    ("socks4, to a name resolved here", "socks4", "ssh", "localhost"),
    ("socks4a, ssh", "socks4a", "ssh", "localhost"), ("socks5, ssh", "socks5", "ssh", "127.0.0.1"),
    ("socks5h, ssh", "socks5h", "ssh", "localhost"), ("socks5, microsocks", "socks5", "socks", "127.0.0.1"),
    ("socks5, to a name resolved here", "socks5", "socks", "localhost"),
    ("socks5h, microsocks", "socks5h", "socks", "localhost"),
    ("socks5 with a user", "socks5", "socks_user", "127.0.0.1"),
    ("socks5h with a user", "socks5h", "socks_user", "localhost"),
    ("http, to an address", "http", "http", "127.0.0.1"), ("http, to a name", "http", "http", "localhost"),
    ("http with Basic", "http", "http_user", "localhost"),
    ("https", "https", "tls", "localhost"), ("https with Basic", "https", "tls_user", "localhost"),
]:
    for mode in MODES:
        @group.each(f"{name}, {mode}")
        def _(context: Context, scheme=scheme, where=where, host=host, mode=mode):
            deliver(context, mode, [proxy(context, scheme, where)], host=host)


@group.each("a user given, not asked for")
def _(context: Context):
    deliver(context, "starttls", [context.bed.proxies.url("socks5h", "socks", login=LOGIN)])
    deliver(context, "starttls", [context.bed.proxies.url("http", "http", login=HTTP_LOGIN)])


@group.each("a proxy by its name, over TLS and not")
def _(context: Context):
    for scheme, name in [("socks5h", "socks_user"), ("https", "tls_user")]:
        deliver(context, "starttls", [context.bed.proxies.url(scheme, name, "localhost")])


@group.each("https, an unknown root, accepted by name of the danger")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    ran = context.send(cases_postfix.url(context, "clear"), "--security", "starttls", "--danger-accept-invalid-certs",
                       *through(context.bed.proxies.url("https", "misnamed", "127.0.0.2")),
                       "--message", context.file(HELLO), expect=0, to=mailbox.address)
    check(ran, ran.stderr.strip(), "silent about the danger")
    messages.same(HELLO, mailbox.delivered()[0])


for mode in MODES:
    @group.each(f"auto finds {mode} through a proxy")
    def _(context: Context, mode=mode):
        deliver(context, mode, [proxy(context, "socks5h", "socks")], security="auto")


# Chains

for chain in CHAINS:
    for mode in MODES:
        @group.each(f"{' -> '.join(scheme for scheme, _ in chain)}, {mode}")
        def _(context: Context, chain=chain, mode=mode):
            deliver(context, mode, [proxy(context, *way) for way in chain], host="localhost")

for mode in MODES:
    @group.each(f"TLS in TLS in TLS: https -> https, {mode}")
    def _(context: Context, mode=mode):
        deliver(context, mode, [proxy(context, "https", "tls"), proxy(context, "https", "tls_user")], host="localhost")


@group.each("one proxy four times")
def _(context: Context):
    deliver(context, "implicit", [proxy(context, "socks5h", "socks_user")] * 4, host="localhost")


@functools.cache
def big_message() -> bytes:
    return messages.big("proxied", 4 << 20)


@group.each("4 MiB through a chain")
def _(context: Context):
    deliver(context, "implicit", [proxy(context, *way) for way in CHAINS[0]], content=big_message(), timeout=60)


@group.each("several messages over one tunnel")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    with Server(relay.relay("socks5", context.bed.postfix.port["clear"])) as server:
        context.send(cases_postfix.url(context, "clear"), "--security", "starttls", *trust(context),
                     *through(url("socks5h", server.port)), "--message", context.file(HELLO), "--count", "5", expect=0,
                     to=mailbox.address)
        assert len(server.peers) == 1, f"{len(server.peers)} connections"
    for delivered in mailbox.delivered(5):
        messages.same(HELLO, delivered)


# What the proxy is asked

for scheme, form in [("socks4", "address"), ("socks4a", "name"), ("socks5", "address"), ("socks5h", "name"),
                     ("http", "name")]:
    @group.each(f"{scheme} is asked for the {form}, with the user percent-decoded")
    def _(context: Context, scheme=scheme, form=form):
        login = LOGINS[scheme]
        with Server(relay.relay(scheme, context.bed.postfix.port["clear"], login=login)) as server:
            given = url(scheme, server.port, tuple(filter(None, login)))
            ran = deliver(context, "starttls", [given], host="localhost")
            asked = relay.asked(server)[-1]
            check(ran, asked.form == form and asked.port == context.bed.postfix.port["clear"], f"asked for {asked}")
            check(ran, form == "address" or asked.host == "localhost", f"asked for {asked}")
            check(ran, asked.login == login, "another user or password arrived")


@group.each("a name that only the proxy knows")
def _(context: Context):
    name = "mail.inside.invalid"
    for scheme in ("socks4a", "socks5h", "http"):
        with Server(relay.relay(scheme, context.bed.postfix.port["clear"])) as server:
            ran = deliver(context, "starttls", [url(scheme, server.port)], "--tls-name", "localhost", host=name)
            check(ran, relay.asked(server)[-1].host == name, f"asked for {relay.asked(server)}")


if ports.ipv6():
    @group.each("a proxy at an IPv6 address")
    def _(context: Context):
        with Server(relay.relay("socks5", context.bed.postfix.port["clear"]), host="::1") as server:
            deliver(context, "starttls", [url("socks5h", server.port, host="[::1]")])


@group.each("a URL without a scheme is http")
def _(context: Context):
    given = proxy(context, "http", "http")
    deliver(context, "starttls", [given], options=["--proxy", shown(given).removeprefix("http://")])


# How it is said

for scheme in ("socks4a", "socks5h", "http", "https"):
    @group.each(f"{scheme}: the reply and the server's greeting in one segment")
    def _(context: Context, scheme=scheme):
        talk = relay.ahead(scheme, polite(greeting=lambda peer: None), greeting=b"220 server.example.org ESMTP\r\n")
        with Server(talk, context.bed.ca) as server:
            context.send("smtp://localhost:25", "--security", "none", *trust(context),
                         *through(url(scheme, server.port)), "--message", context.file(HELLO), expect=0)
            assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"] and not server.early, server.verbs

for scheme, login in [("socks4a", None), ("socks5h", LOGIN), ("http", HTTP_LOGIN), ("http", None)]:
    for mode in MODES:
        @group.each(f"{scheme}{' with a user' if login else ''}: octet by octet, {mode}")
        def _(context: Context, scheme=scheme, login=login, mode=mode):
            port = context.bed.postfix.port[MODES[mode]]
            with Server(relay.relay(scheme, port, say=relay.drop_by_drop, login=login, cut=1)) as server:
                deliver(context, mode, [url(scheme, server.port, login)])


@group.each("octet by octet in the middle of a chain")
def _(context: Context):
    with Server(relay.relay("socks5", context.bed.proxies.port["tls_user"], say=relay.drop_by_drop, cut=1)) as server:
        deliver(context, "implicit", [proxy(context, "socks4a", "ssh"), url("socks5h", server.port),
                                      proxy(context, "https", "tls_user")])


# The environment

@group.each("ALL_PROXY")
def _(context: Context):
    for mode in MODES:
        given = proxy(context, "https", "tls_user")
        deliver(context, mode, [given], options=[], env={"ALL_PROXY": given})


@group.each("NO_PROXY")
def _(context: Context):
    given = url("socks5h", context.bed.proxies.closed)
    port = context.bed.postfix.port["clear"]
    for host, listed in [("127.0.0.1", "127.0.0.1"), ("localhost", "example.org,localhost"), ("localhost", "*"),
                         ("127.0.0.1", "127.0.0.0/8"), ("127.0.0.1", f"127.0.0.1:{port}")]:
        deliver(context, "starttls", [], host=host, env={"ALL_PROXY": given, "NO_PROXY": listed})
    given = proxy(context, "socks5h", "socks_user")
    for host, listed in [("127.0.0.1", "example.org, 192.0.2.1"), ("localhost", "host"), ("127.0.0.1", ""),
                         ("127.0.0.1", f"127.0.0.1:{port + 1}")]:
        deliver(context, "starttls", [given], host=host, options=[], env={"ALL_PROXY": given, "NO_PROXY": listed})


@group.each("--proxy goes before the environment")
def _(context: Context):
    env = {"ALL_PROXY": url("http", context.bed.proxies.closed), "NO_PROXY": "*"}
    deliver(context, "starttls", [proxy(context, "http", "http_user")], env=env)


@group.each("--proxy none")
def _(context: Context):
    env = {"ALL_PROXY": url("http", context.bed.proxies.closed, HTTP_LOGIN)}
    deliver(context, "starttls", [], options=["--proxy", "none"], env=env)
