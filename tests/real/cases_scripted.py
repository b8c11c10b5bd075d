"""The command against servers that misbehave, each in one way."""

import base64
import re

import messages
import ports
from command import leaks
from dovecot import PASSWORD, USER
from scripted import Peer, Server, after, all_of, ehlo, endless, late, part_of_body, polite
from suite import Context, Group, check

group = Group("scripted")

HELLO = messages.SMALL["small"]
LIMIT_MIB = 32
# More than all socket buffers on the way, so that it is still being written when the server acts.
LONG = 32 << 20

CLEAR = ("--security", "none")
LOGIN = ("--user", USER, "--password-env", "TEST_PASSWORD")
SECRET = {"env": {"TEST_PASSWORD": PASSWORD}, "secrets": (PASSWORD,)}


def phase(ran, *names: str):
    """Phases are called after the command whose reply is awaited, or are "TLS handshake", "data block", "final dot"."""
    error = ran.report["error"]
    check(ran, error, "no error")
    check(ran, error["phase"] in names, f"phase {error['phase']!r}, not {' or '.join(names)}")


def kind(ran, *names: str):
    check(ran, ran.report["error"] and ran.report["error"]["kind"] in names, f"kind is not {' or '.join(names)}")


def results(ran) -> list[str]:
    return [each["result"] for each in ran.report["messages"][0]["recipients"]]


def talk_to(context: Context, server: Server, *args, expect: int, message: bytes | None = HELLO, **limits):
    """One message to the server; without groups on offer nothing may come early, whatever else is tested."""
    args = list(args)
    if message is not None:
        args += ["--message", context.file(message)]
    ran = context.send(server.url, *args, expect=expect, **limits)
    check(ran, not server.early, f"sent before the reply to {server.early}")
    return ran


def accepted(name: str, *args, **steps):
    """A case in which the message must arrive all the same, over one connection."""
    @group.each(name)
    def _(context: Context):
        with Server(polite(**steps)) as server:
            ran = talk_to(context, server, *CLEAR, *args, expect=0)
            check(ran, len(server.peers) == 1, f"{len(server.peers)} connections")


def refused(name: str, expect: int | tuple[int, ...], kinds: tuple[str, ...], where: str | None = None,
            args: tuple = (), **steps):
    """A case in which the dialogue must end, with nothing of a message having gone out."""
    @group.each(f"{name}: {expect}")
    def _(context: Context):
        with Server(polite(**steps), context.bed.ca) as server:
            ran = talk_to(context, server, *(args or CLEAR), expect=expect, **SECRET)
            kind(ran, *kinds)
            if where:
                phase(ran, where)
            check(ran, b"Hello." not in server.heard, "the message went out")
            check(ran, ran.peak_mib < LIMIT_MIB, f"peak memory is {ran.peak_mib:.0f} MiB")


# Greetings

accepted("greeting without text", greeting=b"220\r\n")
accepted("greeting without text, with a space", greeting=b"220 \r\n")
accepted("greeting of several lines", greeting=b"220-one\r\n220-\r\n220 three\r\n")
accepted("greeting of several lines, the last without text", greeting=b"220-one\r\n220-two\r\n220\r\n")
accepted("greeting in three pieces",
         greeting=all_of(after(b"22", late(0.2, b"0 ser")), late(0.2, b"ver\r\n")))
# Not in the table of exit statuses: a 5xx here is read as "refused for good", as it is anywhere else; so is the 4xx.
refused("greeting 554", 65, ("refused",), "greeting", greeting=b"554 5.3.2 no service here\r\n")
refused("greeting 421", 75, ("refused",), "greeting", greeting=after(b"421 4.3.2 too busy\r\n", Peer.hang_up_and_drain))
refused("greeting 250", 76, ("protocol",), "greeting", greeting=b"250 hello\r\n")
refused("greeting of another protocol", 76, ("protocol",), "greeting", greeting=b"+OK POP3 server ready\r\n")
refused("greeting twice", 76, ("protocol",), greeting=b"220 one\r\n220 two\r\n")
refused("connection lost instead of a greeting", 75, ("closed",), "greeting", greeting=Peer.drop)


@group.each("greeting after 3 s with --greeting-timeout 1s: 75")
def _(context: Context):
    with Server(polite(greeting=late(3, b"220 at last\r\n"))) as server:
        ran = talk_to(context, server, *CLEAR, "--greeting-timeout", "1s", expect=75)
        kind(ran, "timeout")
        phase(ran, "greeting")
        check(ran, ran.seconds < 2.9, "waited for longer")


@group.each("greeting after 1.5 s with --greeting-timeout 4s")
def _(context: Context):
    with Server(polite(greeting=late(1.5, b"220 at last\r\n"))) as server:
        talk_to(context, server, *CLEAR, "--greeting-timeout", "4s", expect=0)


# Replies

LF = {name: reply.replace(b"\r\n", b"\n") for name, reply in {
    "greeting": b"220-one\r\n220 two\r\n", "ehlo": ehlo("8BITMIME", "SIZE 1000000"), "mail": b"250 ok\r\n",
    "rcpt": b"250 ok\r\n", "data": b"354 go\r\n", "message": b"250 ok\r\n", "quit": b"221 bye\r\n"}.items()}

accepted("replies with LF only", **LF)
accepted("replies in Latin-1", greeting="220 grüß Gott\r\n".encode("latin-1"),
         message="250 angenommen für später\r\n".encode("latin-1"))
accepted("replies without text", mail=b"250\r\n", rcpt=b"250\r\n", data=b"354\r\n", message=b"250\r\n", quit=b"221\r\n")
accepted("reply of 200 lines",
         message=b"".join(b"250-2.0.0 line %d\r\n" % n for n in range(199)) + b"250 2.0.0 done\r\n")
accepted("reply line of 2000 octets", message=b"250 2.0.0 " + b"x" * 1988 + b"\r\n")
accepted("other codes of success", mail=b"251 ok\r\n", rcpt=b"252 cannot verify\r\n", message=b"299 ok\r\n")
accepted("no reply to QUIT", quit=Peer.drop)
accepted("no answer to QUIT at all", "--timeout", "2s", quit=Peer.stall)

for step, where in [("greeting", "greeting"), ("ehlo", "EHLO"), ("mail", "MAIL"), ("rcpt", "RCPT"), ("data", "DATA")]:
    code = {"greeting": b"220", "data": b"354"}.get(step, b"250")
    refused(f"codes that differ within a reply, {where}", 76, ("protocol",), where,
            **{step: code + b"-one\r\n" + b"251 two\r\n"})
    refused(f"code 199, {where}", 76, ("protocol",), where, **{step: b"199 no such code\r\n"})
    refused(f"code 600, {where}", 76, ("protocol",), where, **{step: b"600 no such code\r\n"})
for name, reply in [("no code", b"hello\r\n"), ("two digits", b"25 ok\r\n"), ("four digits", b"2500 ok\r\n"),
                    ("an empty line", b"\r\n"), ("a code with a letter", b"2x0 ok\r\n")]:
    refused(f"reply with {name}", 76, ("protocol",), "MAIL", mail=reply)
refused("354 to MAIL", 76, ("protocol",), "MAIL", mail=b"354 go on\r\n")
for step, where in [("greeting", "greeting"), ("ehlo", "EHLO"), ("mail", "MAIL")]:
    refused(f"endless line, {where}", 76, ("protocol",), where, **{step: endless(b"250 " + b"x" * 60)})
    code = b"220" if step == "greeting" else b"250"
    refused(f"endless reply, {where}", 76, ("protocol",), where, **{step: endless(code + b"-SIZE 123\r\n")})

# EHLO

for code in (b"500", b"502"):
    @group.each(f"EHLO refused with {code.decode()}, HELO taken")
    def _(context: Context, code=code):
        with Server(polite(ehlo=code + b" 5.5.1 not implemented\r\n")) as server:
            ran = talk_to(context, server, *CLEAR, expect=0)
            check(ran, server.verbs[:3] == ["EHLO", "HELO", "MAIL"], f"heard {server.verbs}")

refused("EHLO refused with 502, and STARTTLS wanted", 76, ("tls", "protocol", "refused"),
        args=("--security", "starttls"), ehlo=b"502 5.5.1 not implemented\r\n")
refused("EHLO refused with 502, and credentials given", 77, ("auth",), args=(*CLEAR, *LOGIN),
        ehlo=b"502 5.5.1 not implemented\r\n")
refused("EHLO 421", 75, ("refused",), "EHLO", ehlo=after(b"421 4.3.2 shutting down\r\n", Peer.hang_up_and_drain))


# STARTTLS

def starttls(name: str, expect: int | tuple[int, ...], kinds: tuple[str, ...], **steps):
    refused(name, expect, kinds, args=("--security", "starttls", *LOGIN, "--danger-accept-invalid-certs"),
            **({"ehlo": ehlo("STARTTLS", "AUTH PLAIN LOGIN")} | steps))


starttls("STARTTLS with a reply behind it", 76, ("tls", "protocol"),
         starttls=after(b"220 2.0.0 go on\r\n250 2.0.0 injected\r\n", Peer.stall))
starttls("STARTTLS with one octet behind it", 76, ("tls", "protocol"), starttls=after(b"220 go on\r\n2", Peer.stall))
starttls("STARTTLS stripped", 76, ("tls", "protocol"), ehlo=ehlo("AUTH PLAIN LOGIN"))
# Both "try later: 4xx" and "STARTTLS was required and not to be had" describe it.
starttls("STARTTLS refused with 454", (75, 76), ("tls", "refused"), starttls=b"454 4.7.0 not available\r\n")
starttls("STARTTLS refused with 502", 76, ("tls", "refused", "protocol"), starttls=b"502 5.5.1 not implemented\r\n")
starttls("STARTTLS, then no TLS", 76, ("tls", "protocol"),
         starttls=all_of(b"220 go on\r\n", Peer.read, b"250 what?\r\n", Peer.stall))
starttls("STARTTLS, then the connection is lost", 75, ("closed", "tls"),
         starttls=all_of(b"220 go on\r\n", Peer.read, Peer.drop))


@group.each("auto and starttls: nothing is said in clear but EHLO, STARTTLS and QUIT")
def _(context: Context):
    offer = ehlo("STARTTLS", "AUTH PLAIN LOGIN")
    with Server(polite(ehlo=offer, secured=ehlo("AUTH PLAIN")), context.bed.ca) as server:
        for mode in ("auto", "starttls"):
            ran = talk_to(context, server, "--security", mode, "--ca", context.bed.ca.other, *LOGIN, expect=76,
                          **SECRET)
            kind(ran, "tls")
        check(ran, set(server.verbs) <= {"EHLO", "STARTTLS", "QUIT"}, f"heard {server.verbs}")


# Authentication

def never_heard(ran, server: Server):
    check(ran, not leaks(PASSWORD, server.heard), "the password was on the wire")


@group.each("credentials given, AUTH not offered: 77")
def _(context: Context):
    with Server(polite()) as server:
        ran = talk_to(context, server, *CLEAR, *LOGIN, expect=77, **SECRET)
        kind(ran, "auth")
        check(ran, not {"MAIL", "AUTH"} & set(server.verbs), f"heard {server.verbs}")


@group.each("credentials given, no mechanism in common: 77, both sets named")
def _(context: Context):
    with Server(polite(ehlo=ehlo("AUTH GSSAPI NTLM"))) as server:
        ran = talk_to(context, server, *CLEAR, *LOGIN, "--auth", "CRAM-MD5", expect=77, **SECRET)
        kind(ran, "auth")
        check(ran, all(name in ran.stderr for name in ("GSSAPI", "NTLM", "CRAM-MD5")), "the sets are not named")
        check(ran, set(ran.report["authentication"]["supported"]) == {"GSSAPI", "NTLM"}, "not what was offered")
        check(ran, "AUTH" not in server.verbs, f"heard {server.verbs}")


for names in ("PLAIN", "LOGIN", "PLAIN LOGIN XOAUTH2"):
    @group.each(f"AUTH {names} in clear: 77, and the password stays here")
    def _(context: Context, names=names):
        with Server(polite(ehlo=ehlo(f"AUTH {names}"))) as server:
            ran = talk_to(context, server, *CLEAR, *LOGIN, "--transcript", expect=77, **SECRET)
            kind(ran, "auth")
            check(ran, not {"MAIL", "AUTH"} & set(server.verbs), f"heard {server.verbs}")
            never_heard(ran, server)


def echo(peer: Peer):
    """A server that repeats the secret, as it came and decoded."""
    said = bytes(peer.heard).split()[-1]
    plain = base64.b64decode(said).replace(b"\0", b" ")
    peer.say(b"535-5.7.8 " + said + b"\r\n535-5.7.8 " + plain + b"\r\n"
             b"535 5.7.8 wrong password: " + PASSWORD.encode() + b"\r\n")


@group.each("AUTH PLAIN, the server echoes the password: 77, in no output")
def _(context: Context):
    with Server(polite(implicit_tls=True, ehlo=ehlo("AUTH PLAIN"), auth=echo), context.bed.ca) as server:
        ran = talk_to(context, server, "--security", "implicit", "--ca", context.bed.ca.root, *LOGIN, "--transcript",
                      expect=77, **SECRET)
        kind(ran, "auth")
        phase(ran, "AUTH")
        ran = context.smtp("send", "--runtime", context.runtime, "--server", server.url, "--security", "implicit",
                           "--ca", context.bed.ca.root, *LOGIN, "--from", USER, "--to", USER, **SECRET)
        check(ran, ran.status == 77, "not 77 without --json")


def login_dialogue(peer: Peer):
    # Both `AUTH LOGIN` and `AUTH LOGIN <user>` are about.
    if not re.fullmatch(rb"(?s).*AUTH LOGIN [^\r\n]+\r\n", bytes(peer.heard)):
        peer.say(b"334 VXNlcm5hbWU6\r\n")
        peer.line()
    peer.say(b"334 UGFzc3dvcmQ6\r\n")
    peer.said = base64.b64decode(peer.line())
    peer.say(b"235 2.7.0 welcome\r\n")


for offer in (("AUTH=LOGIN",), ("AUTH=LOGIN PLAIN", "AUTH LOGIN"), ("auth login",)):
    @group.each(f"250 {offer[0]}")
    def _(context: Context, offer=offer):
        with Server(polite(ehlo=ehlo(*offer), auth=login_dialogue)) as server:
            ran = talk_to(context, server, *CLEAR, *LOGIN, "--auth", "LOGIN", "--danger-allow-clear-text-auth",
                          expect=0, **SECRET)
            check(ran, ran.report["authentication"]["mechanism"] == "LOGIN", "not LOGIN")
            check(ran, server.peers[0].said == PASSWORD.encode(), "another password arrived")


for code, expect in [(b"535 5.7.8 wrong", 77), (b"534 5.7.9 too weak", 77), (b"454 4.7.0 try later", 75)]:
    refused(f"AUTH answered with {code[:3].decode()}", expect, ("auth",), "AUTH",
            args=(*CLEAR, *LOGIN, "--danger-allow-clear-text-auth", "--auth", "PLAIN"),
            ehlo=ehlo("AUTH PLAIN"), auth=code + b"\r\n")
refused("AUTH CRAM-MD5 with a challenge that is no base64", 76, ("protocol", "auth"), "AUTH",
        args=(*CLEAR, *LOGIN), ehlo=ehlo("AUTH CRAM-MD5"),
        auth=all_of(b"334 ***\r\n", Peer.line, b"501 cancelled\r\n"))


# Recipients

@group.each("accepted, deferred and refused recipients: 65, each named")
def _(context: Context):
    with Server(polite(rcpt=[b"250 2.1.5 ok\r\n", b"450 4.2.1 later\r\n", b"550 5.1.1 never\r\n"])) as server:
        ran = talk_to(context, server, *CLEAR, "--require", "any", expect=65,
                      to=[f"{name}@example.org" for name in ("a", "b", "c")])
        check(ran, results(ran) == ["accepted", "deferred", "refused"], "other results")
        check(ran, ran.report["outcome"] == "partial", "not partial")
        found = [(each["code"], each["enhanced"]) for each in ran.report["messages"][0]["recipients"]]
        check(ran, found[1:] == [(450, "4.2.1"), (550, "5.1.1")], "other codes")


def settled(name: str, expect: int, outcome: str, result: str, **steps):
    @group.each(f"{name}: {expect}")
    def _(context: Context):
        with Server(polite(**steps)) as server:
            ran = talk_to(context, server, *CLEAR, expect=expect)
            check(ran, ran.report["outcome"] == outcome, f"not {outcome}")
            check(ran, results(ran) == [result], f"not {result}")


settled("MAIL 451", 75, "deferred", "deferred", mail=b"451 4.3.0 later\r\n")
settled("MAIL 550", 65, "refused", "refused", mail=b"550 5.7.1 no\r\n")
settled("RCPT 450", 75, "deferred", "deferred", rcpt=b"450 4.2.1 later\r\n")
settled("DATA 451", 75, "deferred", "deferred", data=b"451 4.3.0 later\r\n")
settled("DATA 554", 65, "refused", "refused", data=b"554 5.6.0 no\r\n")
settled("message 451", 75, "deferred", "deferred", message=b"451 4.3.0 later\r\n")
settled("message 554", 65, "refused", "refused", message=b"554 5.6.0 no\r\n")
settled("BDAT 552", 65, "refused", "refused", ehlo=ehlo("PIPELINING", "CHUNKING", "8BITMIME"),
        bdat=b"552 5.3.4 too big\r\n")


@group.each("354 without recipients: a lone dot, 65")
def _(context: Context):
    with Server(polite(ehlo=ehlo("PIPELINING", "8BITMIME"), rcpt=b"550 5.1.1 never\r\n",
                       message=b"554 5.5.1 nobody\r\n")) as server:
        ran = talk_to(context, server, *CLEAR, expect=65, to=["a@example.org", "b@example.org"])
        check(ran, results(ran) == ["refused", "refused"], "other results")
        if "DATA" in server.verbs:
            check(ran, b"DATA\r\n.\r\n" in server.heard, "no lone dot")
        check(ran, b"Subject" not in server.heard, "the message went out")


@group.each("--lmtp: a reply for each recipient")
def _(context: Context):
    answers = b"250 2.1.5 taken\r\n452 4.2.2 full\r\n"
    offer = ehlo("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
    with Server(polite(ehlo=b"500 5.5.1 this is LMTP\r\n", lhlo=offer, message=answers)) as server:
        ran = context.send(server.url, "--lmtp", *CLEAR, "--message", context.file(HELLO), expect=75,
                           to=["a@example.org", "b@example.org"])
        check(ran, server.verbs[0] == "LHLO", f"heard {server.verbs}")
        check(ran, results(ran) == ["accepted", "deferred"], "other results")
        check(ran, ran.report["outcome"] == "partial", "not partial")


@group.each("several messages, one connection; a refusal in between")
def _(context: Context):
    replies = [b"250 2.0.0 one\r\n", b"554 5.6.0 not this one\r\n", b"250 2.0.0 three\r\n"]
    with Server(polite(message=replies)) as server:
        files = [context.file(messages.SMALL[name]) for name in ("small", "leading dots", "no final newline")]
        options = [part for file in files for part in ("--message", file)]
        ran = talk_to(context, server, *CLEAR, *options, expect=65, message=None)
        codes = [message["reply"]["code"] for message in ran.report["messages"]]
        check(ran, codes == [250, 554, 250], f"codes {codes}")
        check(ran, len(server.peers) == 1, f"{len(server.peers)} connections")


@group.each("a message that begins with a dot is stuffed")
def _(context: Context):
    with Server(polite()) as server:
        ran = talk_to(context, server, *CLEAR, expect=0, message=b".\n..\nx")
        check(ran, b"DATA\r\n..\r\n...\r\nx\r\n.\r\nQUIT\r\n" in server.heard, f"heard {server.heard!r}")


# Lost on the way

@group.each("connection lost after the final dot: 74")
def _(context: Context):
    for end in (Peer.drop, Peer.reset):
        with Server(polite(message=end)) as server:
            ran = talk_to(context, server, *CLEAR, expect=74)
            check(ran, ran.report["outcome"] == "unknown", "not unknown")
            check(ran, results(ran) == ["unknown"], "not unknown")
            kind(ran, "closed")


@group.each("connection lost after BDAT LAST: 74")
def _(context: Context):
    with Server(polite(ehlo=ehlo("PIPELINING", "CHUNKING", "8BITMIME"), bdat=Peer.drop)) as server:
        ran = talk_to(context, server, *CLEAR, expect=74)
        check(ran, results(ran) == ["unknown"], "not unknown")


for end in (Peer.drop, Peer.reset):
    @group.each(f"connection lost before the dot ({end.__name__}): 75")
    def _(context: Context, end=end):
        with Server(polite(body=part_of_body(end))) as server:
            ran = talk_to(context, server, *CLEAR, expect=75, message=messages.big("cut", LONG))
            kind(ran, "closed")
            check(ran, results(ran)[0] in ("deferred", "not-sent"), "another result")


@group.each("connection lost after RCPT: 75")
def _(context: Context):
    with Server(polite(rcpt=Peer.drop)) as server:
        ran = talk_to(context, server, *CLEAR, expect=75)
        kind(ran, "closed")
        phase(ran, "RCPT")


@group.each("421 while the body is going out: 75")
def _(context: Context):
    reply = after(b"421 4.3.2 shutting down\r\n", Peer.hang_up_and_drain)
    with Server(polite(body=part_of_body(reply))) as server:
        ran = talk_to(context, server, *CLEAR, expect=75, message=messages.big("421", LONG))
        check(ran, "421" in ran.stdout and "shutting down" in ran.stdout, "the server's words are lost")
        check(ran, results(ran)[0] in ("deferred", "not-sent"), "another result")


@group.each("552 while the body is going out: 65")
def _(context: Context):
    def too_big(peer: Peer):
        peer.say(b"552 5.3.4 too big\r\n")
        # Goes on reading, as a polite server does; the dialogue may go on behind the dot.
        tail = b""
        while b"\r\n.\r\n" not in tail:
            tail = tail[-4:] + peer.read()
        peer.rest = tail.split(b"\r\n.\r\n", 1)[1]

    with Server(polite(body=part_of_body(too_big), message=lambda peer: None)) as server:
        ran = talk_to(context, server, *CLEAR, expect=65, message=messages.big("552", LONG), timeout=60)
        check(ran, results(ran) == ["refused"], "not refused")
        check(ran, ran.report["messages"][0]["recipients"][0]["code"] == 552
              or (ran.report["messages"][0]["reply"] or {}).get("code") == 552, "the server's code is lost")


@group.each("552 while the body is going out, then the connection is lost: 65")
def _(context: Context):
    reply = after(b"552 5.3.4 too big\r\n", Peer.hang_up_and_drain)
    with Server(polite(body=part_of_body(reply))) as server:
        ran = talk_to(context, server, *CLEAR, expect=65, message=messages.big("552", LONG), timeout=60)
        check(ran, results(ran) == ["refused"], "not refused")


# Elsewhere

@group.each("an address with a line end is not even tried: 64")
def _(context: Context):
    with Server(polite()) as server:
        ran = context.send(server.url, *CLEAR, expect=64, to="a@example.org\r\nDATA")
        check(ran, not server.peers, "connected")


if ports.ipv6():
    @group.each("IPv6")
    def _(context: Context):
        with Server(polite(), host="::1") as server:
            ran = talk_to(context, server, *CLEAR, expect=0)
            check(ran, ran.report["server"]["host"].strip("[]") == "::1", "another host")

    @group.each("implicit TLS, by an IPv6 address in the certificate")
    def _(context: Context):
        with Server(polite(implicit_tls=True), context.bed.ca, host="::1") as server:
            talk_to(context, server, "--security", "implicit", "--ca", context.bed.ca.root, expect=0)
