"""`smtp serve` misbehaves as told, and real clients notice; it speaks LMTP; a crowd loses nothing; it stops politely.

The exit statuses are those of the clients' own manuals; a tuple is (swaks, curl, msmtp).
"""

import asyncio
import contextlib
import resource
import signal
import smtplib
import socket
import ssl
import time

import clients
import messages
from clients import CLEAR, FROM, HELO, IMPLICIT, STARTTLS, TO, Curl, Msmtp, Serve, Smtplib, Swaks, same
from dovecot import PASSWORD, USER
from suite import Context, Group, check

group = Group("serve")

HELLO = messages.SMALL["small"]
LONG = messages.whole("long", b"0123456789\n" * 100)
COMMANDS = (Swaks(), Curl(), Msmtp())


def noticed(name: str, *options, expect: tuple, raised: type | None = None, code: int | None = None,
            content: bytes = HELLO, security: str = CLEAR, at_least: float = 0):
    """A case for each client: its exit status (or one of them), or what smtplib raises, and what is kept then."""
    for client, status in zip(COMMANDS, expect):
        @group.once(f"{name}, {client.name}: {status}")
        def _(context: Context, client=client, status=status):
            with Serve(context, *options, security=security) as server:
                ran = client.send(context, server, content)
                check(ran, ran.status in (status if isinstance(status, tuple) else (status,)), f"status {ran.status}")
                check(ran, ran.seconds >= at_least, "too early")
                for kept in server.kept(1 if status == 0 else 0):
                    same(client.arrives(content), kept.content)

    @group.once(f"{name}, smtplib: {raised.__name__ if raised else 0}")
    def _(context: Context):
        with Serve(context, *options, security=security) as server:
            begin, error = time.monotonic(), None
            try:
                Smtplib().send(context, server, content)
            except smtplib.SMTPException as caught:
                error = caught
            assert type(error) is (raised or type(None)), repr(error)
            if code:
                found = getattr(error, "smtp_code", None) or error.recipients[TO][0]
                assert found == code, found
            assert time.monotonic() - begin >= at_least, "too early"
            server.kept(0 if raised else 1)


noticed("--refuse-rcpt", "--refuse-rcpt", TO, expect=(24, 55, 65), raised=smtplib.SMTPRecipientsRefused, code=550)
noticed("--tempfail", "--tempfail", expect=(26, 8, 69), raised=smtplib.SMTPDataError, code=451)
noticed("--drop-after 10", "--drop-after", 10, expect=(6, 56, 76), raised=smtplib.SMTPServerDisconnected)
noticed("--drop-after within the message", "--drop-after", 600, content=LONG, expect=(6, (55, 56), 76),
        raised=smtplib.SMTPServerDisconnected)
noticed("--drop-after that is never reached", "--drop-after", 100_000, expect=(0, 0, 0))
noticed("--greet-after", "--greet-after", "1200ms", expect=(0, 0, 0), at_least=1.2)
# Greeting, EHLO, MAIL, RCPT, DATA, the message, at least; in a group they are said at once.
noticed("--slow", "--slow", "200ms", expect=(0, 0, 0), at_least=0.8)
noticed("--max-size, announced", "--max-size", 1000, content=LONG, expect=(26, 55, 69),
        raised=smtplib.SMTPSenderRefused, code=552)
noticed("--max-size, not announced", "--max-size", 1000, "--without", "SIZE", content=LONG, expect=(26, 8, 69),
        raised=smtplib.SMTPDataError, code=552)
noticed("--max-size that is enough", "--max-size", len(clients.lines_of(LONG)), content=LONG, expect=(0, 0, 0))
noticed("--without STARTTLS", "--without", "STARTTLS", security=STARTTLS, expect=(29, 64, 69),
        raised=smtplib.SMTPNotSupportedError)
noticed("--without extensions", "--without",
        "SIZE,PIPELINING,CHUNKING,8BITMIME,ENHANCEDSTATUSCODES,DSN,SMTPUTF8,BINARYMIME", expect=(0, 0, 0))


@group.once("--without AUTH: swaks 28, msmtp 69, smtplib SMTPNotSupportedError")
def _(context: Context):
    with Serve(context, "--without", "AUTH", user=True) as server:
        for client, status in [(Swaks(), 28), (Msmtp(), 69)]:
            ran = client.send(context, server, HELLO, mechanism="PLAIN")
            check(ran, ran.status == status, f"exit status {ran.status}")
        with Smtplib().connect(server) as peer:
            try:
                peer.login(USER, PASSWORD)
                raise AssertionError("logged in")
            except smtplib.SMTPNotSupportedError:
                assert peer.docmd("AUTH", "PLAIN")[0] == 502
        server.kept(0)


@group.once("--without each extension: it is not offered, the others are")
def _(context: Context):
    def offers(*options) -> set[str]:
        with Serve(context, *options, security=STARTTLS, user=True) as server, Smtplib().connect(server) as peer:
            peer.ehlo()
            return set(peer.esmtp_features)

    everything = offers()
    assert everything >= {"pipelining", "size", "8bitmime", "smtputf8", "enhancedstatuscodes", "chunking", "binarymime",
                          "dsn", "auth"}, everything
    for keyword in everything:
        # BINARYMIME stands on CHUNKING (RFC 3030, section 3), and SMTPUTF8 on 8BITMIME (RFC 6531, section 3.1).
        above = {"chunking": "binarymime", "8bitmime": "smtputf8"}.get(keyword, keyword)
        assert offers("--without", keyword) == everything - {keyword, above}, keyword


@group.once("--greet-after that is too late: swaks 21, curl 28, msmtp 74")
def _(context: Context):
    with Serve(context, "--greet-after", "5s") as server:
        for client, status, limit in [(Swaks(), 21, ["--timeout", "1"]), (Curl(), 28, ["--max-time", "1"]),
                                      (Msmtp(), 74, ["--timeout=1"])]:
            ran = client.send(context, server, HELLO, *limit)
            check(ran, ran.status == status, f"exit status {ran.status}")
        server.kept(0)


@group.once("--greet-after: who speaks early hears 554, then 503 and 221; or nothing; or is served")
def _(context: Context):
    for options, codes in [((), [b"554", b"503", b"221"]), (("--early-talkers", "drop"), []),
                           (("--early-talkers", "serve"), [b"220", b"250", b"221"]),
                           (("--with", "PIPECONNECT"), [b"220", b"250", b"221"])]:
        with Serve(context, "--greet-after", "300ms", *options) as server:
            try:
                heard = hurry(server, b"HELO a\r\nQUIT\r\n")
            except ConnectionResetError:
                heard = b""
            assert [line[:3] for line in heard.splitlines()] == codes, heard
            # Who waits is served in any case.
            with Smtplib().connect(server) as peer:
                assert peer.noop()[0] == 250


@group.once("--slow: each reply to a group waits, under TLS too")
def _(context: Context):
    for security in (CLEAR, IMPLICIT):
        with Serve(context, "--slow", "200ms", security=security) as server, Smtplib().connect(server) as peer:
            peer.ehlo()
            begin = time.monotonic()
            peer.send(b"MAIL FROM:<a@example.org>\r\n" + b"RCPT TO:<b@example.org>\r\n" * 5 + b"DATA\r\n")
            for at, code in enumerate([250] * 6 + [354], 1):
                assert peer.getreply()[0] == code
                assert time.monotonic() - begin >= at * 0.2, f"reply {at} came too early"


@group.once("--auth: what is asked for is offered, and nothing else")
def _(context: Context):
    with Serve(context, "--auth", "LOGIN,SCRAM-SHA-256", user=True) as server, Smtplib().connect(server) as peer:
        peer.ehlo()
        assert peer.esmtp_features["auth"].split() == ["LOGIN", "SCRAM-SHA-256"], peer.esmtp_features
        peer.login(USER, PASSWORD)


# Clients in a hurry, and those that go away

MAIL = b"EHLO a\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (FROM.encode(), TO.encode())


def hurry(server: Serve, octets: bytes) -> bytes:
    """Says it all at once, closes the own side, and hears all."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as stream:
        stream.sendall(octets)
        stream.shutdown(socket.SHUT_WR)
        heard = b""
        while got := stream.recv(65536):
            heard += got
        return heard


@group.once("everything said at once, and the own side closed: all is answered and kept")
def _(context: Context):
    message = b"Subject: a\r\n\r\n" + b"b\r\n" * 20_000
    with Serve(context) as server:
        for end in (b"QUIT\r\n", b""):
            heard = hurry(server, (MAIL + message + b".\r\n") * 20 + end)
            assert heard.count(b"\r\n354 ") == heard.count(b"\r\n250 2.0.0 ") == 20, heard
            assert heard.endswith(b"\r\n") and (b"\r\n221 " in heard) == bool(end), heard[-100:]
        for kept in server.kept(40):
            same(message, kept.content)


@group.once("lost before the end of the message: nothing is kept")
def _(context: Context):
    with Serve(context) as server:
        for part in (b"", b"Subject: a\r\n\r\nb", b"Subject: a\r\n\r\nb\r\n.", b"Subject: a\r\n\r\nb\r\n.\r",
                     b"Subject: a\r\n\r\n" + b"b\r\n" * 100_000):
            heard = hurry(server, MAIL + part)
            assert b"\r\n354 " in heard and b"\r\n250 2.0.0 " not in heard, heard
        server.kept(0)


@group.once("--store DIR that has gone: 452; it is back: 250")
def _(context: Context):
    with Serve(context) as server:
        server.store.rmdir()
        assert b"\r\n452 4.3.1 " in hurry(server, MAIL + b"b\r\n.\r\n")
        server.store.mkdir()
        assert b"\r\n250 2.0.0 " in hurry(server, MAIL + b"b\r\n.\r\n")
        server.kept(1)


# LMTP

@group.once("--lmtp: swaks and msmtp, three recipients; smtplib, one; compared")
def _(context: Context):
    to = [TO, "carol@example.org", "dave@example.org"]
    content = messages.SMALL["leading dots"]
    with Serve(context, "--lmtp") as server:
        for client, option in [(Swaks(), ["--protocol", "LMTP"]), (Msmtp(), ["--protocol=lmtp"])]:
            ran = client.send(context, server, content, *option, to=to)
            check(ran, ran.status == 0, f"exit status {ran.status}")
        with smtplib.LMTP("127.0.0.1", server.port, HELO, timeout=20) as peer:
            assert peer.sendmail(FROM, to[:1], clients.lines_of(content)) == {}
        for kept, recipients in zip(server.kept(3), (to, to, to[:1])):
            same(clients.lines_of(content), kept.content)
            assert kept.recipients == recipients and kept.envelope["helo"] == HELO, kept.envelope


@group.once("--lmtp: a reply for each recipient that was accepted, 451 each with --tempfail")
def _(context: Context):
    to = ["one@example.org", "two@example.org", "three@example.org"]
    for more, codes in [((), [250, 250]), (("--tempfail",), [451, 451])]:
        with Serve(context, "--lmtp", "--refuse-rcpt", to[1], *more) as server, \
                smtplib.LMTP("127.0.0.1", server.port, HELO, timeout=20) as peer:
            assert peer.ehlo()[0] == 250 and peer.mail(FROM)[0] == 250
            assert [peer.rcpt(each)[0] for each in to] == [250, 550, 250]
            assert peer.docmd("DATA")[0] == 354
            peer.send(b"Subject: a\r\n\r\nb\r\n.\r\n")
            assert [peer.getreply()[0] for _ in codes] == codes
            # In step: no reply too many.
            assert peer.noop()[0] == 250
            for kept in server.kept(0 if more else 1):
                assert kept.recipients == [to[0], to[2]], kept.envelope


@group.once("--lmtp: EHLO and HELO are not taken, nor is LHLO without it")
def _(context: Context):
    for option, wrong, right in [(["--lmtp"], ("EHLO", "HELO"), "LHLO"), ([], ("LHLO",), "EHLO")]:
        with Serve(context, *option) as server, smtplib.SMTP("127.0.0.1", server.port, HELO, timeout=20) as peer:
            for verb in wrong:
                assert peer.docmd(verb, HELO)[0] in (500, 502, 503), verb
            assert peer.docmd(right, HELO)[0] == 250


# A crowd

CROWD = 1000


class Crowd:
    """Many clients at once: each speaks only when all have been greeted.

    In clear the server is held until they had time to knock, so that they find out how many it lets wait.
    """

    def __init__(self, server: Serve, count: int, trusting: ssl.SSLContext | None = None):
        self.server, self.count, self.trusting = server, count, trusting
        self.greeted = 0
        self.all_greeted = asyncio.Event()

    async def reply(self, reader: asyncio.StreamReader, code: bytes):
        while (line := await reader.readline())[3:4] == b"-":
            assert line.startswith(code), line
        assert line.startswith(code + b" "), line

    async def one(self, number: int):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=self.trusting)
        try:
            await self.reply(reader, b"220")
            self.greeted += 1
            if self.greeted == self.count:
                self.all_greeted.set()
            await self.all_greeted.wait()
            for line, code in [(b"EHLO client.example.org", b"250"),
                               (b"MAIL FROM:<from-%d@example.org>" % number, b"250"),
                               (b"RCPT TO:<to-%d@example.org>" % number, b"250"), (b"DATA", b"354"),
                               (b"Subject: %d\r\n\r\n..%d\r\n." % (number, number), b"250"), (b"QUIT", b"221")]:
                writer.write(line + b"\r\n")
                await writer.drain()
                await self.reply(reader, code)
            assert await reader.read() == b"", "something behind the 221"
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def all(self):
        if not self.trusting:
            self.server.process.send_signal(signal.SIGSTOP)
            asyncio.get_running_loop().call_later(1, self.server.process.send_signal, signal.SIGCONT)
        await asyncio.wait_for(asyncio.gather(*(self.one(number) for number in range(self.count))), 120)


def many_files():
    """The usual soft limit is too low for a crowd."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < 4 * CROWD:
        wanted = 4 * CROWD if hard < 0 else min(4 * CROWD, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


for security, count in [(CLEAR, CROWD), ("implicit", CROWD // 5)]:
    @group.once(f"{count} connections at once, TLS {security}: none is lost")
    def _(context: Context, security=security, count=count):
        many_files()
        with Serve(context, security=security) as server:
            trusting = ssl.create_default_context(cafile=str(server.root)) if security != CLEAR else None
            asyncio.run(Crowd(server, count, trusting).all())
            found = {}
            for kept in server.kept(count, 60):
                number = int(kept.envelope["from"].removeprefix("from-").removesuffix("@example.org"))
                assert number not in found, f"{number} arrived twice"
                found[number] = kept
                assert kept.recipients == [f"to-{number}@example.org"], kept.envelope
                same(b"Subject: %d\r\n\r\n.%d\r\n" % (number, number), kept.content)
            assert set(found) == set(range(count))


# The end

@group.once("told to stop, it says 421 to those who wait, and ends with 0")
def _(context: Context):
    for number in (signal.SIGTERM, signal.SIGINT):
        with Serve(context) as server, contextlib.ExitStack() as peers:
            idle = peers.enter_context(smtplib.SMTP("127.0.0.1", server.port, HELO, timeout=20))
            idle.ehlo()
            server.process.send_signal(number)
            assert idle.getreply()[0] == 421
            server.process.wait(10)


@group.once("told to stop within a message, it takes that, and says 421 then")
def _(context: Context):
    with Serve(context) as server, smtplib.SMTP("127.0.0.1", server.port, HELO, timeout=20) as peer:
        peer.ehlo()
        peer.mail(FROM)
        peer.rcpt(TO)
        assert peer.docmd("DATA")[0] == 354
        peer.send(b"Subject: a\r\n\r\n")
        # Read by the server before the signal is.
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        peer.send(b"b\r\n.\r\n")
        assert peer.getreply()[0] == 250 and peer.getreply()[0] == 421
        same(b"Subject: a\r\n\r\nb\r\n", server.kept()[0].content)
