"""Postfix and Dovecot relay to `smtp serve`: over SMTP and LMTP, in clear and under TLS, logged in and not."""

import re
import smtplib

import messages
from clients import IMPLICIT, STARTTLS, Serve, lines_of, same
from dovecot import USER
from dovecot_relay import DovecotRelay
from postfix import Mailbox
from scripted import Server, ehlo, polite
from suite import Context, Group

group = Group("relay")

HELLO = messages.SMALL["small"]

# What they put before a message that they pass on.
RECEIVED = re.compile(rb"Received: [^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)+")


class Hop:
    """One of Postfix's ways on, and the server at its end."""

    def __init__(self, context: Context, name: str, *options, **how):
        self.postfix, self.name = context.bed.postfix, name
        self.server = Serve(context, *options, port=self.postfix.relay[name], **how)
        # Where it hears of what could not be delivered.
        self.sender = self.postfix.mailbox()

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *error):
        self.server.__exit__(*error)

    def to(self, local: str) -> str:
        return f"{local}@{self.name}.relay.example"

    def submit(self, content: bytes, *local: str):
        with smtplib.SMTP("127.0.0.1", self.postfix.port["clear"], "client.example.org", timeout=60) as peer:
            peer.sendmail(self.sender.address, [self.to(each) for each in local], lines_of(content), ["BODY=8BITMIME"])

    def arrived(self, contents: list[bytes], *local: str) -> list[dict]:
        """The envelopes of what arrived, which must be these messages in any order."""
        found = {}
        for kept in self.server.kept(len(contents)):
            trace = RECEIVED.match(kept.content)
            assert trace, f"no trace: {kept.content[:300]!r}"
            found[kept.content[trace.end():]] = kept.envelope
            assert kept.envelope["from"] == self.sender.address, kept.envelope
            assert sorted(kept.recipients) == sorted(map(self.to, local)), kept.envelope
        for content in contents:
            want = lines_of(content)
            # The trace is ended with a blank line where the message does not go on with a header.
            want = want if re.match(rb"[!-9;-~]+[ \t]*:", want) else b"\r\n" + want
            if want not in found:
                same(want, min(found, key=lambda got: abs(len(got) - len(want))))
        return list(found.values())


@group.once("every message, compared")
def _(context: Context):
    with Hop(context, "clear") as hop:
        contents = list(messages.SMALL.values())
        for content in contents:
            hop.submit(content, "bob")
        for envelope in hop.arrived(contents, "bob"):
            assert envelope["helo"] == "mail.example.org" and envelope["tls"] is None, envelope
            assert any(each.startswith("SIZE=") for each in envelope["parameters"]), envelope
            assert "BODY=8BITMIME" in envelope["parameters"], envelope


for security in (STARTTLS, IMPLICIT):
    @group.once(f"TLS {security}, the certificate verified; 32 MiB, three recipients, compared")
    def _(context: Context, security=security):
        content = messages.big("relayed", 32 << 20)
        with Hop(context, security, security=security) as hop:
            hop.submit(content, "bob", "carol", "dave")
            envelope, = hop.arrived([content], "bob", "carol", "dave")
            assert envelope["tls"] == "1.3", envelope
            assert (peak := hop.server.peak_mib()) < 48, f"peak memory of the server is {peak:.0f} MiB"


for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"):
    @group.once(f"logged in by {mechanism}")
    def _(context: Context, mechanism=mechanism):
        with Hop(context, mechanism.lower(), security=STARTTLS, user=True) as hop:
            hop.submit(HELLO, "bob")
            envelope, = hop.arrived([HELLO], "bob")
            assert (envelope["user"], envelope["mechanism"]) == (USER, mechanism), envelope


@group.once("over LMTP, three recipients, compared")
def _(context: Context):
    with Hop(context, "lmtp", "--lmtp") as hop:
        contents = list(messages.SMALL.values())
        for content in contents:
            hop.submit(content, "bob", "carol", "dave")
        hop.arrived(contents, "bob", "carol", "dave")


def bounced(sender: Mailbox, *words: bytes):
    notice, = sender.delivered()
    for word in words:
        assert word in notice, notice.decode()


@group.once("--refuse-rcpt: the others get it, the sender is told")
def _(context: Context):
    with Hop(context, "refusing", "--refuse-rcpt", "carol@refusing.relay.example") as hop:
        hop.submit(HELLO, "bob", "carol", "dave")
        hop.arrived([HELLO], "bob", "dave")
        bounced(hop.sender, b"<carol@refusing.relay.example>", b"550 5.1.1", b"Status: 5.1.1")


@group.once("--tempfail: deferred, and kept nowhere")
def _(context: Context):
    with Hop(context, "deferring", "--tempfail") as hop:
        hop.submit(HELLO, "bob")
        # It is given one try only.
        bounced(hop.sender, b"451 4.3.0", b"Status: 4.3.0")
        hop.server.kept(0)


@group.once("300 messages, many at once: each arrives once")
def _(context: Context):
    with Hop(context, "crowd") as hop:
        contents = [messages.whole(f"relayed-{n}", b"%d\n" % n) for n in range(300)]
        for content in contents:
            hop.submit(content, "bob")
        hop.arrived(contents, "bob")


for chunking in (True, False):
    @group.once(f"Dovecot passes on to LMTP and SMTP, {'by BDAT' if chunking else 'by DATA'}, compared")
    def _(context: Context, chunking=chunking):
        options = () if chunking else ("--without", "CHUNKING")
        contents = [*messages.SMALL.values(), messages.big("passed-on", 8 << 20)]
        with Serve(context, "--lmtp", *options) as lmtp, Serve(context, *options) as smtp:
            ways = {"bob@example.org": (lmtp.port, "lmtp"), "carol@example.org": (lmtp.port, "lmtp"),
                    "dave@example.org": (smtp.port, "smtp")}
            with DovecotRelay(context.folder / "dovecot", ways) as dovecot, \
                    smtplib.SMTP("127.0.0.1", dovecot.port, timeout=60) as peer:
                assert peer.docmd("LHLO", "client.example.org")[0] == 250
                for content in contents:
                    assert peer.mail("alice@example.org")[0] == 250
                    assert [peer.rcpt(to)[0] for to in ways] == [250] * len(ways)
                    assert peer.docmd("DATA")[0] == 354
                    peer.send(re.sub(rb"(?m)^\.", b"..", lines_of(content)) + b".\r\n")
                    assert [peer.getreply()[0] for _ in ways] == [250] * len(ways)
            for server, to in [(lmtp, list(ways)[:2]), (smtp, list(ways)[2:])]:
                for content, kept in zip(contents, server.kept(len(contents))):
                    assert kept.recipients == to and kept.envelope["from"] == "alice@example.org", kept.envelope
                    trace = RECEIVED.match(kept.content)
                    assert trace, f"no trace: {kept.content[:300]!r}"
                    same(lines_of(content), kept.content[trace.end():])


@group.once("Dovecot says BDAT where CHUNKING is offered, and DATA where not")
def _(context: Context):
    # What the case above takes for granted.
    for extensions, verb in [(("PIPELINING", "CHUNKING"), "BDAT"), (("PIPELINING",), "DATA")]:
        with Server(polite(lhlo=ehlo(*extensions))) as server:
            ways = {"bob@example.org": (server.port, "lmtp")}
            with DovecotRelay(context.folder / verb, ways) as dovecot, \
                    smtplib.LMTP("127.0.0.1", dovecot.port, timeout=60) as peer:
                peer.sendmail("alice@example.org", list(ways), lines_of(HELLO))
            assert verb in server.verbs, server.verbs
