"""Clients that nobody here wrote deliver to `smtp serve`: what it keeps is what they sent."""

import smtplib

import messages
from clients import (ALL, CLEAR, FROM, HELO, IMPLICIT, SECURITY, STARTTLS, TO, Curl, Gsasl, Kept, Msmtp, Serve, Smtplib,
                     Swaks, introduced, lines_of, same)
from command import Ran
from dovecot import PASSWORD, USER
from scripted import Server
from suite import Context, Group, check

group = Group("clients")

HELLO = messages.SMALL["small"]
LIMIT_MIB = 48
BIG = 32 << 20

CONTENTS = messages.SMALL | {
    "empty": b"",
    "one octet": b"x",
    "one dot": b".",
    "a line end alone": b"\r\n",
    "dots throughout": b".\n" * 5000,
    "a line of 100,000 octets": messages.whole("line", b"x" * 100_000 + b"\n"),
    "NUL": messages.whole("nul", b"a\0b\n\0\n\0.\n"),
}


def delivered(ran: Ran):
    check(ran, ran.status == 0, f"exit status {ran.status}")


def envelope(server: Serve, kept: Kept, to: list[str] = [TO]):
    """What every client says of a message, and what is known of its session."""
    told = kept.envelope
    assert told["from"] == FROM and kept.recipients == to, told
    assert told["helo"] == HELO and told["octets"] == len(kept.content), told
    assert told["peer"].startswith("127.0.0.1:"), told
    assert (told["tls"] in ("1.2", "1.3") and told["cipher"]) if server.security != CLEAR else not told["tls"], told


for client in ALL:
    @group.once(f"{client.name}: every message, compared")
    def _(context: Context, client=client):
        contents = {name: content for name, content in CONTENTS.items() if content or not isinstance(client, Swaks)}
        with Serve(context) as server:
            for content in contents.values():
                delivered(client.send(context, server, content))
            for (name, content), kept in zip(contents.items(), server.kept(len(contents))):
                try:
                    same(client.arrives(content), kept.content)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from None
                envelope(server, kept)

    @group.once(f"{client.name}: 32 MiB, compared")
    def _(context: Context, client=client):
        content = messages.big(client.name, BIG)
        for security in (CLEAR, IMPLICIT):
            with Serve(context, security=security) as server:
                delivered(client.send(context, server, content))
                same(client.arrives(content), server.kept()[0].content)
                assert (peak := server.peak_mib()) < LIMIT_MIB, f"peak memory of the server is {peak:.0f} MiB"

    for security in SECURITY:
        @group.once(f"{client.name}: TLS {security}, each mechanism, passwords right and wrong")
        def _(context: Context, client=client, security=security):
            with Serve(context, security=security, user=True) as server:
                delivered(client.send(context, server, HELLO))
                for mechanism in client.mechanisms:
                    delivered(client.send(context, server, HELLO, mechanism=mechanism))
                    ran = client.send(context, server, HELLO, mechanism=mechanism, password=PASSWORD[:-1])
                    check(ran, ran.status != 0, f"a wrong password passed with {mechanism}")
                found = server.kept(1 + len(client.mechanisms))
                for kept, mechanism in zip(found, (None, *client.mechanisms)):
                    same(client.arrives(HELLO), kept.content)
                    envelope(server, kept)
                    expected = (USER, mechanism) if mechanism else (None, None)
                    assert (kept.envelope["user"], kept.envelope["mechanism"]) == expected, kept.envelope

    @group.once(f"{client.name}: several recipients")
    def _(context: Context, client=client):
        to = [f"to-{n}@example.org" for n in range(20)]
        with Serve(context) as server:
            delivered(client.send(context, server, HELLO, to=to))
            envelope(server, server.kept()[0], to)


# What each has of its own

for security in (CLEAR, STARTTLS):
    @group.once(f"swaks --pipeline: TLS {security}, AUTH, several recipients, one of them refused")
    def _(context: Context, security=security):
        to = [f"to-{n}@example.org" for n in range(5)]
        with Serve(context, "--refuse-rcpt", to[2], security=security, user=True) as server:
            content = CONTENTS["dots throughout"]
            delivered(Swaks().send(context, server, content, "--pipeline", mechanism="PLAIN", to=to))
            kept = server.kept()[0]
            envelope(server, kept, to[:2] + to[3:])
            same(Swaks().arrives(content), kept.content)


@group.once("swaks --pipeline: all recipients refused, and DATA behind them: 24")
def _(context: Context):
    with Serve(context, "--refuse-rcpt", TO) as server:
        ran = Swaks().send(context, server, HELLO, "--pipeline")
        check(ran, ran.status == 24, f"exit status {ran.status}")
        check(ran, "<** 554" in ran.stdout, "DATA was not refused")
        server.kept(0)


@group.once("swaks: what is not offered is not had: --prdr 30, --xclient 33")
def _(context: Context):
    with Serve(context) as server:
        for options, status in [(["--prdr"], 30), (["--xclient-addr", "192.0.2.1"], 33)]:
            ran = Swaks().send(context, server, HELLO, *options)
            check(ran, ran.status == status, f"exit status {ran.status}")
        server.kept(0)


@group.once("msmtp: DSN")
def _(context: Context):
    with Serve(context) as server:
        delivered(Msmtp().send(context, server, HELLO, "--dsn-notify=failure,delay", "--dsn-return=hdrs"))
        told = server.kept()[0].envelope
        assert "RET=HDRS" in told["parameters"], told
        assert told["recipients"][0]["parameters"] == ["NOTIFY=FAILURE,DELAY"], told


@group.once("msmtp: mechanisms that are not offered: 69")
def _(context: Context):
    with Serve(context, security=IMPLICIT, user=True) as server:
        for mechanism in ("DIGEST-MD5", "NTLM", "EXTERNAL"):
            ran = Msmtp().send(context, server, HELLO, mechanism=mechanism)
            check(ran, ran.status == 69 and mechanism in ran.stderr, f"exit status {ran.status}")
        server.kept(0)


for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
    @group.once(f"gsasl: {mechanism}-PLUS bound to the channel, and no way around it")
    def _(context: Context, mechanism=mechanism):
        plus = f"{mechanism}-PLUS"
        with Serve(context, security=STARTTLS, user=True) as server, Server(introduced(server.port)) as way:
            def login(*args, **how) -> Ran:
                return Gsasl().login(context, way.port, server.root, *args, **how)

            for args in ([plus], [mechanism, "--no-cb"]):
                ran = login(*args)
                delivered(ran)
                check(ran, f"AUTH {args[0]}\n" in ran.stdout.replace("\r", ""), "another mechanism")
                check(ran, "\n235 " in ran.stdout, "not logged in")
                ran = login(*args, password="wrong")
                check(ran, ran.status == 1 and "\n535 " in ran.stdout, "a wrong password passed")
            # Both could bind and one says that the other cannot: somebody stands between (RFC 5802, section 6).
            ran = login(mechanism)
            check(ran, ran.status == 1 and "\n235 " not in ran.stdout, "the downgrade passed")


@group.once("curl: the throw-away certificate is trusted by its CA, and by no other: 60")
def _(context: Context):
    for security in (STARTTLS, IMPLICIT):
        with Serve(context, security=security, throw_away=True) as server:
            delivered(Curl().send(context, server, HELLO))
            server.root = context.bed.ca.root
            ran = Curl().send(context, server, HELLO)
            check(ran, ran.status == 60, f"exit status {ran.status}")
            envelope(server, server.kept()[0])


@group.once("curl and swaks: TLS 1.2")
def _(context: Context):
    for security in (STARTTLS, IMPLICIT):
        with Serve(context, security=security) as server:
            delivered(Curl().send(context, server, HELLO, "--tls-max", "1.2"))
            delivered(Swaks().send(context, server, HELLO, "--tls-protocol", "tlsv1_2"))
            for kept in server.kept(2):
                envelope(server, kept)
                assert kept.envelope["tls"] == "1.2", kept.envelope


@group.once("curl: the SIZE, and the mailbox of AUTH")
def _(context: Context):
    with Serve(context, user=True) as server:
        delivered(Curl().send(context, server, HELLO, "--mail-auth", "<carol@example.org>", mechanism="PLAIN"))
        told = server.kept()[0].envelope
        assert set(told["parameters"]) == {f"SIZE={len(lines_of(HELLO))}", "AUTH=carol@example.org"}, told


@group.once("smtplib: parameters of MAIL and RCPT, and addresses beyond ASCII")
def _(context: Context):
    with Serve(context) as server, Smtplib().connect(server) as peer:
        peer.sendmail("grüße@example.org", ["jürgen@example.org"], lines_of(HELLO),
                      ["BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=abc"], ["NOTIFY=NEVER"])
        kept = server.kept()[0]
        told = kept.envelope
        assert told["from"] == "grüße@example.org" and kept.recipients == ["jürgen@example.org"], told
        assert set(told["parameters"]) >= {"BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=abc"}, told
        assert told["recipients"][0]["parameters"] == ["NOTIFY=NEVER"], told


@group.once("smtplib: chunks of any size, the last one empty, any octets")
def _(context: Context):
    content = bytes(range(256)) * 40 + b"\n.\n\r\n.\r\n\r"
    with Serve(context) as server, Smtplib().connect(server) as peer:
        peer.ehlo()
        for size in (1, 7, 255, 4096, len(content)):
            chunks = [content[at:at + size] for at in range(0, len(content) if size > 1 else 300, size)]
            assert peer.docmd("MAIL", f"FROM:<{FROM}> BODY=BINARYMIME")[0] == 250 and peer.rcpt(TO)[0] == 250
            for chunk in chunks:
                peer.send(b"BDAT %d\r\n" % len(chunk) + chunk)
                assert peer.getreply()[0] == 250
            assert peer.docmd("BDAT", "0 LAST")[0] == 250
        first, *others = server.kept(5)
        same(content[:300], first.content)
        for kept in others:
            same(content, kept.content)


@group.once("smtplib: the null reverse-path")
def _(context: Context):
    with Serve(context) as server, Smtplib().connect(server) as peer:
        peer.sendmail("", [TO], lines_of(HELLO))
        assert server.kept()[0].envelope["from"] == ""


@group.once("smtplib: 500 messages, one connection, RSET in between")
def _(context: Context):
    with Serve(context) as server, Smtplib().connect(server) as peer:
        for n in range(500):
            if n % 10 == 0:
                peer.mail(FROM)
                peer.rcpt("abandoned@example.org")
                assert peer.rset()[0] == 250
            peer.sendmail(FROM, [f"to-{n}@example.org"], b"Subject: %d\r\n\r\n.%d\r\n" % (n, n))
        for n, kept in enumerate(server.kept(500)):
            same(b"Subject: %d\r\n\r\n.%d\r\n" % (n, n), kept.content)
            envelope(server, kept, [f"to-{n}@example.org"])


@group.once("smtplib: the other commands, and an order that is wrong")
def _(context: Context):
    with Serve(context, user=True) as server, Smtplib().connect(server) as peer:
        assert peer.docmd("MAIL", f"FROM:<{FROM}>")[0] == 503
        peer.helo()
        assert peer.noop()[0] == 250 and peer.verify(TO)[0] == 252 and peer.docmd("HELP")[0] == 214
        assert peer.docmd("DATA")[0] == 503 and peer.docmd("RCPT", f"TO:<{TO}>")[0] == 503
        for verb, codes in [("STARTTLS", (454, 502)), ("WHAT", (500,))]:
            assert (code := peer.docmd(verb)[0]) in codes, f"{verb}: {code}"
        peer.ehlo()
        peer.login(USER, PASSWORD)
        assert peer.docmd("AUTH", "PLAIN")[0] == 503
        assert peer.mail(FROM)[0] == 250 and peer.mail(FROM)[0] == 503
        assert peer.docmd("DATA")[0] in (503, 554)
        server.kept(0)


@group.once("smtplib: bare line ends are refused, and end nothing")
def _(context: Context):
    with Serve(context) as server, Smtplib().connect(server) as peer:
        for smuggled in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n"):
            peer.ehlo_or_helo_if_needed()
            peer.mail(FROM)
            peer.rcpt(TO)
            assert peer.docmd("DATA")[0] == 354
            peer.send(b"Subject: a\r\n\r\nb" + smuggled + b"MAIL FROM:<eve@example.org>\r\n"
                      b"RCPT TO:<eve@example.org>\r\nDATA\r\nSubject: smuggled\r\n.\r\n")
            assert peer.getreply()[0] == 550, smuggled
            # In step: nothing of it was taken for a command.
            assert peer.noop()[0] == 250, smuggled
        server.kept(0)


@group.once("smtplib: STARTTLS with a command behind it is not obeyed")
def _(context: Context):
    with Serve(context, security=STARTTLS) as server, smtplib.SMTP("127.0.0.1", server.port, HELO, timeout=20) as peer:
        peer.ehlo()
        peer.send(b"STARTTLS\r\nMAIL FROM:<eve@example.org>\r\n")
        try:
            code = peer.getreply()[0]
            # Either the group is refused, or what follows 220 can only be TLS.
            assert code != 250 and (code != 220 or peer.getreply()[0] != 250), code
        except smtplib.SMTPServerDisconnected:
            pass
        server.kept(0)
