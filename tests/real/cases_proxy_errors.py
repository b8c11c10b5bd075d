"""The command and proxies that refuse, mislead or stall: it says where and why, leaves in time and shows no secret."""

import relay
from cases_postfix import trust
from cases_proxies import HTTP_LOGIN, LOGIN, SOCKS4_LOGIN, proxy, secrets, through
from proxies import HTTP_USER, SOCKS_USER, shown, url
from scripted import Peer, Server, after, all_of, endless, polite
from suite import Context, Group, check

group = Group("proxy errors")

LIMIT_MIB = 32
WRONG = "not the right one/7+%@!"


def fails(context: Context, route: list[str], expect: int | tuple[int, ...], kinds: str, hop: int | None, *args,
          words: str = "", host: str = "localhost", port: int | None = None, options: list[str] | None = None,
          **limits):
    """One message that does not get through; whatever was written in the URLs, no output shows more than it may."""
    port = port or context.bed.postfix.port["clear"]
    ran = context.send(f"smtp://{host}:{port}", "--security", "starttls", "--transcript", *trust(context),
                       *(through(*route) if options is None else options), *args, expect=expect,
                       secrets=secrets(*route), **limits)
    error = ran.report["error"]
    check(ran, error["kind"] in kinds.split(), f"kind {error['kind']}, not {kinds}")
    check(ran, error["hop"] == hop, f"hop {error['hop']}, not {hop}")
    check(ran, ran.report["route"] == [shown(proxy) for proxy in route], "another route")
    if hop:
        check(ran, shown(route[hop - 1]).split("//")[1] in ran.stderr, "the proxy is not named")
    check(ran, all(word.lower() in error["text"].lower() for word in words.split()), f"{words} is not in the text")
    check(ran, ran.peak_mib < LIMIT_MIB, f"peak memory is {ran.peak_mib:.0f} MiB")
    check(ran, not any(c < " " and c not in "\r\n\t" for c in ran.stderr), "controls in the output")
    return ran


# What does not begin

@group.each("proxy port closed: 69")
def _(context: Context):
    closed = context.bed.proxies.closed
    for scheme, login in [("socks4", None), ("socks5h", LOGIN), ("http", HTTP_LOGIN), ("https", None)]:
        ran = context.send("smtp://localhost:25", *trust(context), *through(url(scheme, closed, login)), expect=69,
                           secrets=LOGIN[1:])
        check(ran, ran.report["error"]["kind"] == "connect", "another kind")
        check(ran, ran.report["error"]["hop"] in (None, 1), "another hop")
        check(ran, f"127.0.0.1:{closed}" in ran.stderr, "the proxy is not named")


@group.each("a proxy's name not found: 68")
def _(context: Context):
    ran = context.send("smtp://localhost:25", *through("socks5h://nowhere.invalid:1080"), expect=68)
    check(ran, ran.report["error"]["kind"] == "resolve" and "nowhere.invalid" in ran.stderr, "another kind or name")


@group.each("the server's name not found, by us and by the proxy: 68 and 69")
def _(context: Context):
    ran = context.send("smtp://nowhere.invalid:25", *through(proxy(context, "socks5", "socks")), expect=68)
    check(ran, ran.report["error"]["kind"] == "resolve" and "nowhere.invalid" in ran.stderr, "another kind or name")
    for scheme, name in [("socks5h", "socks"), ("http", "http")]:
        fails(context, [proxy(context, scheme, name)], 69, "proxy", 1, host="nowhere.invalid")


@group.each("what cannot be meant: 64")
def _(context: Context):
    for given in ("ftp://127.0.0.1:21", "socks4://u:open-sesame-7@127.0.0.1:1",
                  "http://u:open-sesame-7@127.0.0.1:99999", "gopher://u:open-sesame-7@127.0.0.1",
                  "http://a%3Ab:open-sesame-7@127.0.0.1:1",
                  "socks5://a%0d%0ab@127.0.0.1:1", "http://"):
        for options, env in [(through(given), {}), ([], {"ALL_PROXY": given})]:
            ran = context.send("smtp://127.0.0.1:25", *options, expect=64, env=env, secrets=("open-sesame-7",))
            check(ran, ran.report["error"]["kind"] == "usage", "another kind")


# Credentials

for name, scheme, where, login in [
    ("socks5, wrong password", "socks5", "socks_user", (SOCKS_USER, WRONG)),
    ("socks5h, wrong user", "socks5h", "socks_user", ("nobody", WRONG)),
    ("socks5h, no password", "socks5h", "socks_user", (SOCKS_USER,)),
    ("http, wrong password", "http", "http_user", (HTTP_USER, WRONG)),
    ("http, wrong user", "http", "http_user", ("nobody", WRONG)),
    ("https, wrong password", "https", "tls_user", (HTTP_USER, WRONG)),
]:
    @group.each(f"{name}: 69")
    def _(context: Context, scheme=scheme, where=where, login=login):
        fails(context, [context.bed.proxies.url(scheme, where, login=login)], 69, "proxy", 1)


for scheme, where in [("socks5h", "socks_user"), ("http", "http_user"), ("https", "tls_user")]:
    @group.each(f"{scheme}, credentials missing: 69")
    def _(context: Context, scheme=scheme, where=where):
        fails(context, [url(scheme, context.bed.proxies.port[where])], 69, "proxy", 1)


@group.each("a proxy that repeats the password: 69, in no output")
def _(context: Context):
    def echo(peer: Peer):
        relay.http(peer, login=("somebody", "else"), refuse=lambda shown: f"407 {shown} {HTTP_LOGIN[1]}".encode())

    with Server(echo) as server:
        fails(context, [url("http", server.port, HTTP_LOGIN)], 69, "proxy", 1)


@group.each("ALL_PROXY, wrong password: 69")
def _(context: Context):
    given = context.bed.proxies.url("http", "http_user", login=(HTTP_USER, WRONG))
    fails(context, [given], 69, "proxy", 1, options=[], env={"ALL_PROXY": given})


# Refusals

for scheme, where in [("socks5", "socks"), ("socks5h", "socks_user"), ("http", "http"), ("https", "tls")]:
    @group.each(f"target port closed, {scheme}: 69")
    def _(context: Context, scheme=scheme, where=where):
        fails(context, [proxy(context, scheme, where)], 69, "proxy", 1, port=context.bed.proxies.closed)

for scheme in ("socks4", "socks4a", "socks5h"):
    @group.each(f"target port closed, {scheme} of ssh, which closes without a word: 69 or 75")
    def _(context: Context, scheme=scheme):
        fails(context, [proxy(context, scheme, "ssh")], (69, 75), "proxy closed", 1, port=context.bed.proxies.closed)


@group.each("a port that the proxy's rules forbid: 69")
def _(context: Context):
    for scheme, where in [("http", "http"), ("https", "tls")]:
        fails(context, [proxy(context, scheme, where)], 69, "proxy", 1, words="403", port=context.bed.proxies.forbidden)


@group.each("hop 2 refuses: 69")
def _(context: Context):
    proxies = context.bed.proxies
    first = proxy(context, "socks5h", "socks_user")
    for second in [proxies.url("http", "http_user", login=(HTTP_USER, WRONG)),
                   proxies.url("https", "tls_user", login=(HTTP_USER, WRONG)),
                   proxies.url("socks5", "socks_user", login=(SOCKS_USER, WRONG)),
                   url("https", proxies.port["tls_user"])]:
        fails(context, [first, second], 69, "proxy", 2)
    fails(context, [first, proxy(context, "http", "http")], 69, "proxy", 2, words="403", port=proxies.forbidden)
    fails(context, [proxy(context, "https", "tls"), first], 69, "proxy", 2,
          port=proxies.closed)


@group.each("hop 2 closed is hop 1's refusal, hop 3 closed hop 2's: 69")
def _(context: Context):
    closed = url("socks5h", context.bed.proxies.closed, LOGIN)
    first, second = proxy(context, "http", "http"), proxy(context, "socks5h", "socks")
    fails(context, [first, closed], 69, "proxy", 1)
    fails(context, [first, second, closed], 69, "proxy", 2)


@group.each("SOCKS refusals, each by its number: 69")
def _(context: Context):
    for code in range(1, 10):
        with Server(lambda peer: relay.socks5(peer, code=code)) as server:
            fails(context, [url("socks5h", server.port)], 69, "proxy", 1)
    for code in range(91, 95):
        with Server(lambda peer: relay.socks4(peer, code=code)) as server:
            fails(context, [url("socks4a", server.port, SOCKS4_LOGIN[:1])], 69, "proxy", 1)


@group.each("HTTP refusals, in the proxy's words: 69")
def _(context: Context):
    for words in ("302 Moved", "400 Bad Request", "403 Not you", "429 Too Many", "502 Bad Gateway",
                  "503 Service \x1b[31mred"):
        reply = f"HTTP/1.1 {words}\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n".encode()
        with Server(lambda peer: relay.http(peer, reply=reply)) as server:
            fails(context, [url("http", server.port)], 69, "proxy", 1, words=" ".join(words.split()[:2]))


# The wrong kind

@group.each("an SMTP server taken for a proxy: 69 or 76, and it says so")
def _(context: Context):
    port = context.bed.postfix.port["clear"]
    for scheme, words in [("socks4a", "SMTP"), ("socks5h", "SMTP"), ("http", "SMTP"), ("https", "")]:
        fails(context, [url(scheme, port)], (69, 76), "proxy protocol tls", 1, words=words)
    fails(context, [proxy(context, "http", "http"), url("socks5h", port)], (69, 76), "proxy protocol", 2, words="SMTP")


@group.each("an HTTP proxy given as socks: 69 or 76, and it says so")
def _(context: Context):
    answer = all_of(Peer.read, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", Peer.drop)
    for scheme in ("socks4", "socks4a", "socks5", "socks5h"):
        with Server(answer) as server:
            fails(context, [url(scheme, server.port)], (69, 76), "proxy protocol", 1, words="HTTP")


@group.each("tinyproxy given as socks5 waits for a line that never ends: 75 in time")
def _(context: Context):
    ran = fails(context, [proxy(context, "socks5h", "http")], 75, "timeout", 1, "--timeout", "2s")
    check(ran, ran.seconds < 8, f"took {ran.seconds:.1f} s")


@group.each("a SOCKS5 proxy given as http or socks4: 69 or 76, and it says so")
def _(context: Context):
    for scheme in ("http", "socks4a"):
        fails(context, [proxy(context, scheme, "socks")], (69, 76), "proxy protocol", 1, words="SOCKS5")


@group.each("ssh given as http closes without a word: 69 or 75")
def _(context: Context):
    fails(context, [proxy(context, "http", "ssh")], (69, 75), "proxy closed", 1, "--timeout", "4s")


@group.each("https given as http, http given as https: no hang")
def _(context: Context):
    for scheme, where in [("http", "tls"), ("https", "http"), ("https", "socks"), ("socks5h", "tls")]:
        ran = fails(context, [proxy(context, scheme, where)], (69, 75, 76), "proxy protocol tls closed timeout", 1,
                    "--timeout", "2s")
        check(ran, ran.seconds < 8, f"took {ran.seconds:.1f} s")


# TLS to the proxy

@group.each("https, an untrusted root or another name: 76")
def _(context: Context):
    def untrusted(roots: list, *route: str, hop: int):
        ran = context.send("smtp://localhost:25", *roots, *through(*route), expect=76, secrets=secrets(*route))
        check(ran, ran.report["error"]["kind"] == "tls" and ran.report["error"]["hop"] == hop, "another kind or hop")

    near, far = proxy(context, "socks5h", "socks"), proxy(context, "https", "tls_user")
    untrusted([], far, hop=1)
    untrusted(["--ca", context.bed.ca.other], far, hop=1)
    untrusted([], near, far, hop=2)
    misnamed = context.bed.proxies.url("https", "misnamed", "127.0.0.2")
    untrusted(trust(context), misnamed, hop=1)
    # --tls-name is the server's name, and says nothing about the proxy.
    untrusted([*trust(context), "--tls-name", "localhost"], misnamed, hop=1)


@group.each("an untrusted server behind a trusted proxy: 76 and no hop")
def _(context: Context):
    fails(context, [proxy(context, "socks5h", "socks")], 76, "tls", None, "--tls-name", "mail.example.org")


# Silence

SILENT = {
    "socks4a": ("socks4a", Peer.stall), "socks5h": ("socks5h", Peer.stall), "http": ("http", Peer.stall),
    "https, before TLS": ("https", Peer.stall),
    "https, after TLS": ("https", all_of(Peer.start_tls, Peer.stall)),
    "socks5h, after the method": ("socks5h", all_of(Peer.read, b"\5\0", Peer.stall)),
    "socks5h, half a reply": ("socks5h", all_of(Peer.read, b"\5\0", Peer.read, b"\5\0\0\3\x20half", Peer.stall)),
    "http, half a head": ("http", all_of(Peer.read, b"HTTP/1.1 200 OK\r\nDate:", Peer.stall)),
    "http, one field now and then":
        ("http", all_of(Peer.read, b"HTTP/1.1 200 OK\r\n", relay.now_and_then(b"A: b\r\n"))),
    "http, 100 now and then": ("http", all_of(Peer.read, relay.now_and_then(b"HTTP/1.1 100 Continue\r\n\r\n"))),
}
for name, (scheme, talk) in SILENT.items():
    @group.each(f"a silent proxy, {name}: 75")
    def _(context: Context, scheme=scheme, talk=talk):
        with Server(talk, context.bed.ca) as server:
            given = url(scheme, server.port, HTTP_LOGIN if scheme == "http" else None)
            ran = fails(context, [given], 75, "timeout", 1, "--timeout", "2s")
            check(ran, 1.9 < ran.seconds < 8, f"took {ran.seconds:.1f} s")


@group.each("a silent second hop: 75")
def _(context: Context):
    with Server(Peer.stall) as server:
        fails(context, [proxy(context, "socks5h", "socks"), url("socks4a", server.port)], 75, "timeout", 2,
              "--timeout", "2s")


@group.each("a silent server behind a proxy: 75 and no hop")
def _(context: Context):
    with Server(Peer.stall) as server:
        ran = fails(context, [proxy(context, "socks5h", "socks")], 75, "timeout", None, "--timeout", "2s",
                    "--greeting-timeout", "2s", host="127.0.0.1", port=server.port)
        check(ran, ran.report["error"]["phase"] == "greeting", "another phase")


# Too much, too little, nonsense

@group.each("a proxy that closes at once, or in the middle: 69 or 75")
def _(context: Context):
    for scheme, talk in [("socks4a", Peer.drop), ("socks5h", Peer.drop), ("http", Peer.drop),
                         ("socks5h", all_of(Peer.read, b"\5")),
                         ("socks5h", all_of(Peer.read, b"\5\0", Peer.read, b"\5\0")),
                         ("http", all_of(Peer.read, b"HTTP/1.1 200 OK\r\n")), ("http", all_of(Peer.read, Peer.reset))]:
        with Server(talk) as server:
            fails(context, [url(scheme, server.port)], (69, 75), "proxy closed", 1)


for name, reply in {
    "a header of 64 KiB": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65536 + b"\r\n\r\n",
    "64 KiB of headers": b"HTTP/1.1 200 OK\r\n" + b"A: 0123456789\r\n" * 4369 + b"\r\n",
    "a reason of 64 KiB": b"HTTP/1.1 200 " + b"x" * 65536 + b"\r\n\r\n",
}.items():
    @group.each(f"{name} from a proxy: 69 or 76")
    def _(context: Context, reply=reply):
        with Server(all_of(Peer.read, reply, Peer.stall)) as server:
            fails(context, [url("http", server.port)], (69, 76), "proxy protocol", 1)


@group.each("endless answers: 69 or 76")
def _(context: Context):
    for scheme, octets in [("http", b"x"), ("http", b"A: b\r\n"), ("socks5h", b"\xff"), ("socks4a", b"\xff")]:
        start = b"HTTP/1.1 200 OK\r\n" if scheme == "http" else b""
        with Server(all_of(Peer.read, start, endless(octets))) as server:
            fails(context, [url(scheme, server.port)], (69, 76), "proxy protocol", 1)


@group.each("nonsense: 69 or 76")
def _(context: Context):
    for scheme, octets in [("socks4a", b"\0\xff" + bytes(6)), ("socks4a", b"\5\0"), ("socks5h", b"\5\1"),
                           ("socks5h", b"\5\x80"), ("socks5h", b"\4\0"), ("http", b"\0\0\0"),
                           ("http", b"HTTP/1.1 2OO OK\r\n\r\n"), ("http", b"HTTP/3.0 200 OK\r\n\r\n")]:
        with Server(all_of(Peer.read, octets, Peer.stall)) as server:
            fails(context, [url(scheme, server.port)], (69, 76), "proxy protocol", 1, "--timeout", "4s")


@group.each("no SMTP behind the proxy's reply: 76 and no hop")
def _(context: Context):
    for scheme in ("socks4a", "socks5h", "http"):
        with Server(relay.ahead(scheme, Peer.stall, greeting=b"+OK POP3 ready\r\n")) as server:
            fails(context, [url(scheme, server.port)], 76, "protocol", None)


@group.each("the server lost behind the proxy: 75 and no hop")
def _(context: Context):
    with Server(relay.ahead("socks5", polite(greeting=after(b"220 hello\r\n", Peer.drop)))) as server:
        fails(context, [url("socks5h", server.port)], 75, "closed", None)
