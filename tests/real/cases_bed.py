"""The test bed itself, without the command: where one of these fails, the others say little."""

import base64
import smtplib
import socket
import ssl

import messages
from dovecot import MECHANISMS, PASSWORD, USER, token
from scripted import Peer, Server, after, ehlo, endless, part_of_body, polite
from suite import Context, Group

group = Group("bed")


def trusting(context: Context) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(context.bed.ca.root))


def client(context: Context, service: str) -> smtplib.SMTP:
    port = context.bed.postfix.port[service]
    if service == "smtps":
        plain = smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=trusting(context))
    else:
        plain = smtplib.SMTP("127.0.0.1", port, timeout=20)
    plain.ehlo("client.example.org")
    return plain


def lines_of(content: bytes) -> bytes:
    """The content as it goes on the wire, before stuffing."""
    text = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def by_data(peer: smtplib.SMTP, content: bytes):
    assert peer.docmd("DATA")[0] == 354
    peer.send(b"".join(b"." * line.startswith(b".") + line for line in lines_of(content).splitlines(True)))
    peer.send(b".\r\n")
    assert peer.getreply()[0] == 250


def by_bdat(peer: smtplib.SMTP, content: bytes):
    octets = lines_of(content)
    peer.send(b"BDAT %d LAST\r\n" % len(octets) + octets)
    assert peer.getreply()[0] == 250


for service, way in [("clear", by_bdat), ("grouped", by_data), ("plain", by_data)]:
    @group.once(f"every message through {service}, compared")
    def _(context: Context, service=service, way=way):
        with client(context, service) as peer:
            for content in [*messages.SMALL.values(), messages.big("bed", 5 << 20)]:
                mailbox = context.bed.postfix.mailbox()
                assert peer.mail("alice@example.org")[0] == 250 and peer.rcpt(mailbox.address)[0] == 250
                way(peer, content)
                messages.same(content, mailbox.delivered()[0])


@group.once("a message that is not the same is told apart")
def _(context: Context):
    trace = b"Return-Path: <a@b>\nX-Original-To: a\nDelivered-To: a\nReceived: from a\n\tby b\n"
    for sent, got in [(b"A: b\n\n.\n", b"A: b\n\n..\n"), (b"A: b\n\nx", b"A: b\n\nx"), (b".\nx\n", b".\nx\n"),
                      (b"A: b\n\nx\n", b"A: b\nReceived: c\n\nx\n"), (b"A: b\n\nx\n", b"Date: today\nA: b\n\nx\n")]:
        try:
            messages.same(sent, trace + got)
        except AssertionError:
            continue
        raise AssertionError(f"{sent} and {got} are taken for the same")


@group.once("what each port offers")
def _(context: Context):
    def offers(service: str, *wanted: str):
        with client(context, service) as peer:
            got = {name for name in ("starttls", "auth", "pipelining", "chunking") if peer.has_extn(name)}
            assert got == set(wanted), f"{service} offers {got}"

    offers("clear", "starttls", "auth", "pipelining", "chunking")
    offers("submission", "starttls", "pipelining", "chunking")
    offers("smtps", "auth", "pipelining", "chunking")
    offers("mutual", "starttls", "pipelining", "chunking")
    offers("grouped", "starttls", "auth", "pipelining")
    offers("plain", "starttls", "auth")
    offers("bare", "pipelining", "chunking")


@group.once("STARTTLS, then the mechanisms")
def _(context: Context):
    with client(context, "submission") as peer:
        assert peer.starttls(context=trusting(context))[0] == 220
        peer.ehlo("client.example.org")
        assert set(peer.esmtp_features["auth"].split()) == set(MECHANISMS), peer.esmtp_features["auth"]


@group.once("passwords, right and wrong")
def _(context: Context):
    for mechanism, method in [("PLAIN", "auth_plain"), ("LOGIN", "auth_login"), ("CRAM-MD5", "auth_cram_md5")]:
        for password, right in [(PASSWORD, True), (PASSWORD + "x", False)]:
            with client(context, "smtps") as peer:
                peer.user, peer.password = USER, password
                try:
                    code = peer.auth(mechanism, getattr(peer, method))[0]
                except smtplib.SMTPAuthenticationError as error:
                    code = error.smtp_code
                assert code == (235 if right else 535), f"{mechanism}: {code}"


@group.once("tokens, right and wrong")
def _(context: Context):
    forms = {"XOAUTH2": "user={user}\1auth=Bearer {token}\1\1", "OAUTHBEARER": "n,a={user},\1auth=Bearer {token}\1\1"}
    for mechanism, form in forms.items():
        for valid in (True, False):
            with client(context, "smtps") as peer:
                first = base64.b64encode(form.format(user=USER, token=token(valid=valid)).encode()).decode()
                code = peer.docmd("AUTH", f"{mechanism} {first}")[0]
                if not valid and code == 334:
                    code = peer.docmd("AQ==")[0]
                assert code == (235 if valid else 535), f"{mechanism}: {code}"


@group.once("SCRAM asks on")
def _(context: Context):
    with client(context, "smtps") as peer:
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
            first = base64.b64encode(f"n,,n={USER},r=abcdefgh".encode()).decode()
            code, challenge = peer.docmd("AUTH", f"{mechanism} {first}")
            assert code == 334 and base64.b64decode(challenge).startswith(b"r=abcdefgh"), challenge
            assert peer.docmd("*")[0] == 501


@group.once("the certificate holds for its names, under its root")
def _(context: Context):
    port = context.bed.postfix.port["smtps"]

    def names(root, name: str) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 20) as stream:
                ssl.create_default_context(cafile=str(root)).wrap_socket(stream, server_hostname=name).close()
            return True
        except ssl.SSLCertVerificationError:
            return False

    ca = context.bed.ca
    assert names(ca.root, "localhost") and names(ca.root, "127.0.0.1") and names(ca.root, "::1")
    assert not names(ca.root, "mail.example.org") and not names(ca.other, "localhost")


@group.once("a client certificate is demanded")
def _(context: Context):
    for given in (True, False):
        with client(context, "mutual") as peer:
            tls = trusting(context)
            if given:
                tls.load_cert_chain(context.bed.ca.client_cert, context.bed.ca.client_key)
            try:
                peer.starttls(context=tls)
                code = peer.ehlo("client.example.org")[0]
            except (OSError, smtplib.SMTPException):
                code = 0
            assert (code == 250) == given, f"{code} with a certificate {given}"


@group.once("recipients accepted, refused, deferred; bare line feeds refused")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    with client(context, "clear") as peer:
        peer.mail("alice@example.org")
        codes = [peer.rcpt(each)[0] for each in (mailbox.address, "nobody@example.org", "later@example.org")]
        assert codes == [250, 550, 451], codes
    peer = client(context, "clear")
    peer.mail("alice@example.org")
    peer.rcpt(mailbox.address)
    peer.docmd("DATA")
    peer.send(b"Subject: a\r\n\r\nb\n\r\n.\r\n")
    assert peer.getreply()[0] in (521, 550), "a bare line feed was taken"
    peer.close()
    assert mailbox.empty()


def talk(server: Server, octets: bytes, until: bytes = b"") -> bytes:
    """Says it all at once and hears all, until the server closes or has said `until`."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as stream:
        stream.sendall(octets)
        heard = b""
        while not until or until not in heard:
            if not (got := stream.recv(65536)):
                break
            heard += got
            assert len(heard) < 1 << 24, "endless"
        return heard


@group.once("scripted server: a polite dialogue, in clear and under TLS")
def _(context: Context):
    with Server(polite()) as server, smtplib.SMTP("127.0.0.1", server.port, timeout=20) as peer:
        peer.sendmail("alice@example.org", ["alice@example.org"], messages.SMALL["leading dots"])
        peer.quit()
        assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"] and not server.early, server.verbs
    offer = {"ehlo": ehlo("STARTTLS"), "secured": ehlo("AUTH PLAIN")}
    with Server(polite(**offer), context.bed.ca) as server, smtplib.SMTP("127.0.0.1", server.port, timeout=20) as peer:
        peer.starttls(context=trusting(context))
        peer.login(USER, PASSWORD)
        peer.quit()
        assert server.verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", "QUIT"], server.verbs


@group.once("scripted server: a command sent too early is noticed")
def _(context: Context):
    with Server(polite()) as server:
        talk(server, b"EHLO a\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n")
        assert server.early == ["EHLO", "MAIL"], server.early
    with Server(polite(ehlo=ehlo("PIPELINING"))) as server:
        with socket.create_connection(("127.0.0.1", server.port), 20) as stream:
            stream.sendall(b"EHLO a\r\n")
            heard = b""
            while b"PIPELINING\r\n" not in heard:
                heard += stream.recv(4096)
            stream.sendall(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<a@example.org>\r\nDATA\r\nA: b\r\n.\r\nQUIT\r\n")
            while stream.recv(4096):
                pass
        assert server.early == ["DATA"], server.early


@group.once("scripted server: the ways to end")
def _(context: Context):
    mail = b"EHLO a\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n"
    with Server(polite(message=Peer.drop)) as server:
        assert talk(server, mail + b"x\r\n.\r\n").endswith(b"354 go on\r\n")
    with Server(polite(body=part_of_body(after(b"421 bye\r\n", Peer.hang_up_and_drain), 100))) as server:
        assert talk(server, mail + b"x" * 1000).endswith(b"354 go on\r\n421 bye\r\n")
    with Server(polite(message=Peer.reset)) as server:
        try:
            talk(server, mail + b"x\r\n.\r\n")
            raise AssertionError("no reset")
        except ConnectionResetError:
            pass
    with Server(polite(greeting=endless(b"220-x\r\n"))) as server:
        assert len(talk(server, b"", until=b"220-x\r\n" * 20000)) >= 140000
    with Server(polite(mail=[b"250 one\r\n", b"550 two\r\n"])) as server:
        assert b"250 one\r\n550 two\r\n550 two\r\n221" in talk(server, b"EHLO a\r\nMAIL\r\nMAIL\r\nMAIL\r\nQUIT\r\n")
