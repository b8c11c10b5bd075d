"""The proxies themselves, without the command: each leads to Postfix, and refuses as the other cases count on."""

import contextlib

import relay
import tunnel
from proxies import HTTP_USER, SOCKS_USER, url
from scripted import Peer, Server
from suite import Context, Group

group = Group("bed, proxy")

# Every way to every proxy.
WAYS = [("socks4", "ssh"), ("socks4a", "ssh"), ("socks5", "ssh"), ("socks5h", "ssh"), ("socks5", "socks"),
        ("socks5h", "socks"), ("socks5h", "socks_user"), ("http", "http"), ("http", "http_user"), ("https", "tls"),
        ("https", "tls_user")]
CHAINS = [[("socks5h", "socks"), ("https", "tls"), ("socks4a", "ssh")],
          [("socks4", "ssh"), ("http", "http_user"), ("socks5", "socks_user")],
          [("http", "http"), ("socks5h", "socks"), ("https", "tls_user")]]


def greets(context: Context, route: list[str], host: str = "127.0.0.1", port: int | None = None):
    port = port or context.bed.postfix.port["clear"]
    with contextlib.closing(tunnel.through(route, host, port, context.bed.ca.root)) as stream:
        said = b""
        while not said.endswith(b"\n") and (some := stream.recv(100)):
            said += some
        assert said.startswith(b"220 mail.example.org "), f"said {said!r}"


def refuses(context: Context, hop: int, words: str, route: list[str], port: int | None = None):
    try:
        greets(context, route, port=port)
    except tunnel.Refused as refused:
        number, said = refused.args
        assert number == hop and words in said, f"hop {number} said {said}"
    else:
        raise AssertionError("not refused")


for scheme, name in WAYS:
    @group.once(f"{scheme} to {name}")
    def _(context: Context, scheme=scheme, name=name):
        for host in ("127.0.0.1", "localhost"):
            greets(context, [context.bed.proxies.url(scheme, name)], host)

for chain in CHAINS:
    @group.once(" -> ".join(f"{scheme} to {name}" for scheme, name in chain))
    def _(context: Context, chain=chain):
        greets(context, [context.bed.proxies.url(*way) for way in chain], "localhost")


@group.once("credentials, wrong and missing")
def _(context: Context):
    proxies = context.bed.proxies
    port = proxies.port
    wrong = [(SOCKS_USER, "wrong"), (HTTP_USER, "wrong")]
    refuses(context, 1, r"b'\x01\x02'", [proxies.url("socks5h", "socks_user", login=wrong[0])])
    refuses(context, 1, r"b'\x05\xff'", [url("socks5h", port["socks_user"])])
    # tinyproxy asks with 407, and says 401 to what it is told then.
    refuses(context, 1, "401 Unauthorized", [proxies.url("http", "http_user", login=wrong[1])])
    refuses(context, 1, "407 Proxy", [url("http", port["http_user"])])
    refuses(context, 2, "407 Proxy", [url("socks5h", port["ssh"]), url("https", port["tls_user"])])


@group.once("closed ports and forbidden ones")
def _(context: Context):
    proxies = context.bed.proxies
    closed = proxies.closed
    refuses(context, 1, r"b'\x05\x05", [proxies.url("socks5h", "socks")], closed)
    refuses(context, 1, "500 Unable to connect", [proxies.url("http", "http")], closed)
    refuses(context, 1, "403", [proxies.url("http", "http")], proxies.forbidden)
    refuses(context, 2, r"b'\x05\x05", [proxies.url("http", "http"), proxies.url("socks5h", "socks")], closed)
    # ssh gives no reason: it closes.
    refuses(context, 1, "closed after b''", [proxies.url("socks4a", "ssh")], closed)


@group.once("TLS to a proxy: another root, another name, no TLS")
def _(context: Context):
    proxies, postfix = context.bed.proxies, context.bed.postfix.port["clear"]
    root, other = context.bed.ca.root, context.bed.ca.other
    for given, trusted, words in [(proxies.url("https", "tls"), other, "unable to get local issuer"),
                                  (proxies.url("https", "misnamed", "127.0.0.2"), root, "IP address mismatch"),
                                  (url("https", postfix), root, "wrong version number")]:
        try:
            tunnel.through([given], "127.0.0.1", postfix, trusted)
            raise AssertionError("accepted")
        except tunnel.Refused as refused:
            assert words in refused.args[1], refused.args[1]


for scheme in ("socks4", "socks4a", "socks5", "socks5h", "http"):
    @group.once(f"scripted proxy, {scheme}: leads on, octet by octet, and notes what was asked")
    def _(context: Context, scheme=scheme):
        login = None if scheme.startswith("socks4") else ("user", "pass:word")
        talk = relay.relay(scheme, context.bed.postfix.port["clear"], say=relay.drop_by_drop, login=login, cut=1)
        with Server(talk) as server:
            greets(context, [url(scheme, server.port, login)], "localhost", 25)
            form, host = ("address", "127.0.0.1") if scheme in ("socks4", "socks5") else ("name", "localhost")
            assert relay.asked(server) == [relay.Asked(form, host, 25, login)], relay.asked(server)


@group.once("scripted proxy: the greeting glued to the reply")
def _(context: Context):
    for scheme in ("socks4a", "socks5h", "http", "https"):
        talk = relay.ahead(scheme, Peer.stall, greeting=b"220 mail.example.org glued\r\n")
        with Server(talk, context.bed.ca) as server:
            greets(context, [url(scheme, server.port)], port=25)


