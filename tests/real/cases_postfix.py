"""The command against Postfix and Dovecot: what is sent arrives, octet for octet, and is reported as it was."""

import email
import email.policy
import functools
import threading

import messages
import ports
from dovecot import MECHANISMS, PASSWORD, USER, token
from suite import Context, Group, check

group = Group("postfix")

HELLO = messages.SMALL["small"]
BIG = 64 << 20
LIMIT_MIB = 32
ONE = threading.Lock()


def url(context: Context, service: str, host: str = "127.0.0.1") -> str:
    return f"smtp://{host}:{context.bed.postfix.port[service]}"


def trust(context: Context) -> list:
    return ["--ca", context.bed.ca.root]


def login(password: str = PASSWORD) -> tuple[list[str], dict]:
    """The options that log in, and the limits of the run that belong to them."""
    return ["--user", USER, "--password-env", "TEST_PASSWORD"], \
        {"env": {"TEST_PASSWORD": password}, "secrets": (password,)}


def deliver(context: Context, service: str, content: bytes, *args, host: str = "127.0.0.1", **limits):
    """Sends one message to a fresh mailbox and compares what arrives."""
    mailbox = context.bed.postfix.mailbox()
    ran = context.send(url(context, service, host), "--message", context.file(content), *args, expect=0,
                       to=mailbox.address, **limits)
    messages.same(content, mailbox.delivered()[0])
    report = ran.report
    check(ran, report["outcome"] == "delivered", "not delivered")
    check(ran, len(report["messages"]) == 1, "not one message")
    message = report["messages"][0]
    check(ran, message["from"] == "alice@example.org", "another sender")
    check(ran, message["reply"] and message["reply"]["code"] == 250 and message["reply"]["enhanced"] == "2.0.0",
          "not the final reply of Postfix")
    check(ran, [each["address"] for each in message["recipients"]] == [mailbox.address], "other recipients")
    check(ran, report["server"]["port"] == context.bed.postfix.port[service], "another port")
    return ran


# Security

@group.each("clear")
def _(context: Context):
    ran = deliver(context, "clear", HELLO, "--security", "none")
    check(ran, ran.report["security"]["mode"] == "none" and ran.report["security"]["tls"] is None, "not in clear")
    check(ran, ran.report["authentication"]["mechanism"] is None, "authenticated without credentials")


@group.each("STARTTLS")
def _(context: Context):
    ran = deliver(context, "clear", HELLO, "--security", "starttls", *trust(context))
    check(ran, ran.report["security"]["mode"] == "starttls" and ran.report["security"]["tls"] == "1.3", "not TLS 1.3")


@group.each("STARTTLS, where offered")
def _(context: Context):
    ran = deliver(context, "clear", HELLO, "--security", "starttls-if-offered", *trust(context))
    check(ran, ran.report["security"]["mode"] == "starttls", "not secured")
    ran = deliver(context, "bare", HELLO, "--security", "starttls-if-offered", *trust(context))
    check(ran, ran.report["security"]["mode"] == "none", "not in clear")


@group.each("STARTTLS wanted, not offered: 76")
def _(context: Context):
    ran = context.send(url(context, "bare"), "--security", "starttls", *trust(context), expect=76)
    check(ran, "STARTTLS" in (ran.report["error"]["phase"] or "") + ran.report["error"]["text"], "STARTTLS unnamed")


@group.each("implicit TLS")
def _(context: Context):
    options, limits = login()
    ran = deliver(context, "smtps", HELLO, "--security", "implicit", *trust(context), *options, **limits)
    check(ran, ran.report["security"]["mode"] == "implicit" and ran.report["security"]["tls"] == "1.3", "not TLS 1.3")


for service, mode in [("clear", "starttls"), ("smtps", "implicit"), ("bare", "none")]:
    @group.each(f"auto finds {mode}, and its hint leads there again")
    def _(context: Context, service=service, mode=mode):
        options, limits = login() if service == "smtps" else ([], {})
        ran = deliver(context, service, HELLO, *trust(context), *options, **limits)
        check(ran, ran.report["security"]["mode"] == mode, f"not {mode}")
        hint = ran.report["hint"]
        check(ran, hint == f"127.0.0.1:{context.bed.postfix.port[service]}/{mode}", "another hint")
        ran = deliver(context, service, HELLO, "--hint", hint, *trust(context), *options, **limits)
        check(ran, ran.report["security"]["mode"] == mode, f"not {mode} with the hint")


@group.each("the server by its name")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    ran = context.send(url(context, "clear", "localhost"), "--security", "starttls", *trust(context), "--message",
                       context.file(HELLO), expect=0, to=mailbox.address)
    messages.same(HELLO, mailbox.delivered()[0])
    check(ran, ran.report["server"]["host"] == "localhost", "another host")


@group.each("an unknown root: 76")
def _(context: Context):
    for service, security in [("clear", "starttls"), ("smtps", "implicit")]:
        for roots in ([], ["--ca", context.bed.ca.other]):
            ran = context.send(url(context, service), "--security", security, *roots, expect=76)
            check(ran, ran.report["error"]["kind"] == "tls", "not a TLS error")


@group.each("auto does not fall back from an unknown root: 76")
def _(context: Context):
    for service in ("clear", "smtps"):
        ran = context.send(url(context, service), expect=76)
        check(ran, ran.report["error"]["kind"] == "tls", "not a TLS error")


@group.each("an unknown root, accepted by name of the danger")
def _(context: Context):
    ran = deliver(context, "clear", HELLO, "--security", "starttls", "--danger-accept-invalid-certs")
    check(ran, ran.stderr.strip(), "silent about the danger")


@group.each("another name than the certificate's: 76")
def _(context: Context):
    ran = context.send(url(context, "clear"), "--security", "starttls", "--tls-name", "mail.example.org",
                       *trust(context), expect=76)
    check(ran, ran.report["error"]["kind"] == "tls", "not a TLS error")


@group.each("TLS 1.2 at most, 1.3 at least")
def _(context: Context):
    for limit, version in [("--tls-max", "1.2"), ("--tls-min", "1.3")]:
        ran = deliver(context, "clear", HELLO, "--security", "starttls", limit, version, *trust(context))
        check(ran, ran.report["security"]["tls"] == version, f"not TLS {version}")


@group.each("a client certificate, demanded and given")
def _(context: Context):
    ca = context.bed.ca
    deliver(context, "mutual", HELLO, "--security", "starttls", *trust(context),
            "--client-cert", ca.client_cert, "--client-key", ca.client_key)


@group.each("a client certificate, demanded and not given: 75")
def _(context: Context):
    # Postfix completes the handshake and refuses by a 421 to EHLO, in every version of TLS.
    ran = context.send(url(context, "mutual"), "--security", "starttls", *trust(context), expect=75)
    check(ran, ran.report["error"]["kind"] == "refused", "another kind")
    check(ran, "client certificate" in ran.report["error"]["text"], "the server's words are lost")


# Authentication

for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"):
    @group.each(f"AUTH {mechanism}")
    def _(context: Context, mechanism=mechanism):
        options, limits = login()
        ran = deliver(context, "submission", HELLO, "--security", "starttls", "--auth", mechanism, "--transcript",
                      *trust(context), *options, **limits)
        authentication = ran.report["authentication"]
        check(ran, authentication["mechanism"] == mechanism, f"not {mechanism}")
        check(ran, set(authentication["supported"]) == set(MECHANISMS), "other mechanisms than the server's")
        check(ran, authentication["allowed"] == [mechanism], "other mechanisms than allowed")
        check(ran, f"AUTH {mechanism}" in ran.stderr, "no transcript")

    @group.each(f"AUTH {mechanism}, wrong password: 77")
    def _(context: Context, mechanism=mechanism):
        options, limits = login("close sesame/7+%@!")
        mailbox = context.bed.postfix.mailbox()
        ran = context.send(url(context, "smtps"), "--security", "implicit", "--auth", mechanism, "--transcript",
                           *trust(context), *options, expect=77, to=mailbox.address, **limits)
        check(ran, ran.report["error"]["kind"] == "auth", "not an authentication error")
        check(ran, mailbox.empty(), "delivered all the same")

for mechanism in ("XOAUTH2", "OAUTHBEARER"):
    @group.each(f"AUTH {mechanism}")
    def _(context: Context, mechanism=mechanism):
        for secret, expect in [(token(), 0), (token(valid=False), 77)]:
            mailbox = context.bed.postfix.mailbox()
            ran = context.send(url(context, "smtps"), "--security", "implicit", "--auth", mechanism, "--transcript",
                               *trust(context), "--user", USER, "--token-env", "TEST_TOKEN", expect=expect,
                               to=mailbox.address, env={"TEST_TOKEN": secret}, secrets=(secret,))
            if expect == 0:
                check(ran, ran.report["authentication"]["mechanism"] == mechanism, f"not {mechanism}")
                mailbox.delivered()
            else:
                check(ran, ran.report["error"]["kind"] == "auth", "not an authentication error")


@group.each("AUTH, the mechanism left open: none that reveals the password in clear")
def _(context: Context):
    options, limits = login()
    ran = deliver(context, "clear", HELLO, "--security", "none", *options, **limits)
    check(ran, ran.report["authentication"]["mechanism"] == "SCRAM-SHA-256", "not the strongest mechanism")
    check(ran, not {"PLAIN", "LOGIN"} & set(ran.report["authentication"]["allowed"]), "clear text allowed in clear")


@group.each("AUTH, PLAIN only and in clear: 77, and not a word of it")
def _(context: Context):
    options, limits = login()
    ran = context.send(url(context, "clear"), "--security", "none", "--auth", "PLAIN,LOGIN", *options, expect=77,
                       **limits)
    check(ran, ran.report["error"]["kind"] == "auth", "not an authentication error")


@group.each("AUTH, not offered before STARTTLS: 77")
def _(context: Context):
    options, limits = login()
    context.send(url(context, "submission"), "--security", "none", *options, expect=77, **limits)


@group.each("no AUTH where it is demanded: 65")
def _(context: Context):
    context.send(url(context, "submission"), "--security", "starttls", *trust(context), expect=65)


@group.each("credentials in the URL")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    ports_of = context.bed.postfix.port
    for scheme, service in [("submission", "submission"), ("smtps", "smtps"), ("submissions", "smtps")]:
        ran = context.send(f"{scheme}://alice%40example.org:open%20sesame%2F7%2B%25%40!@127.0.0.1:{ports_of[service]}",
                           *trust(context), "--message", context.file(HELLO), expect=0, to=mailbox.address,
                           secrets=(PASSWORD, "open%20sesame"))
        mode = "starttls" if scheme == "submission" else "implicit"
        check(ran, ran.report["security"]["mode"] == mode, f"not {mode}")
    for delivered in mailbox.delivered(3):
        messages.same(HELLO, delivered)


@group.each("password from a file")
def _(context: Context):
    path = context.folder / "password"
    path.write_text(PASSWORD + "\n")
    deliver(context, "smtps", HELLO, "--security", "implicit", *trust(context), "--user", USER,
            "--password-file", path, secrets=(PASSWORD,))


@group.each("--validate")
def _(context: Context):
    for password, expect in [(PASSWORD, 0), ("close sesame/7+%@!", 77)]:
        options, limits = login(password)
        ran = context.smtp("send", "--json", "--validate", "--runtime", context.runtime, "--server",
                           url(context, "submission"), "--security", "starttls", *trust(context), *options, **limits)
        check(ran, ran.status == expect, f"not {expect}")
        check(ran, ran.report["outcome"] == ("failed" if expect else "validated"), "another outcome")
        check(ran, ran.report["messages"] == [], "a message")


# Messages: as BDAT, as DATA in a group, and one command at a time

for service in ("clear", "grouped", "plain"):
    for name, content in messages.SMALL.items():
        @group.each(f"message, {service}: {name}")
        def _(context: Context, service=service, content=content):
            deliver(context, service, content, "--security", "none")


@functools.cache
def big_message() -> bytes:
    return messages.big("big", BIG)


for service, security in [("clear", "none"), ("grouped", "starttls"), ("plain", "none")]:
    @group.each(f"message, {service}: 64 MiB, {security}")
    def _(context: Context, service=service, security=security):
        # One at a time: two cores would be shared by too many for a sensible timeout.
        with ONE:
            ran = deliver(context, service, big_message(), "--security", security, *trust(context), timeout=120)
        check(ran, ran.report["messages"][0]["octets"] >= BIG, "octets lost")
        check(ran, ran.peak_mib < LIMIT_MIB, f"peak memory is {ran.peak_mib:.0f} MiB")


@group.each("message from standard input")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    context.send(url(context, "clear"), "--security", "none", "--message", "-", expect=0, to=mailbox.address,
                 stdin=HELLO)
    messages.same(HELLO, mailbox.delivered()[0])


@group.each("message built from --subject and --body")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    context.send(url(context, "clear"), "--security", "none", "--subject", "Grüße", "--body", "Guten Tag.\n.\n",
                 expect=0, to=mailbox.address)
    message = email.message_from_bytes(mailbox.delivered()[0], policy=email.policy.default)
    found = message["Subject"], message["From"], message["To"], message.get_body().get_content().rstrip()
    assert found == ("Grüße", "alice@example.org", mailbox.address, "Guten Tag.\n."), f"built as {found}"
    assert message["Date"] and message["Message-ID"], "no date or no message id"


for service in ("clear", "grouped", "plain"):
    @group.each(f"several messages over one connection, {service}")
    def _(context: Context, service=service):
        mailbox = context.bed.postfix.mailbox()
        contents = list(messages.SMALL.values())
        ran = context.send(url(context, service), "--security", "none",
                           *(part for content in contents for part in ("--message", context.file(content))), expect=0,
                           to=mailbox.address)
        check(ran, len(ran.report["messages"]) == len(contents), "not a report of each")
        arrived = [messages.without_trace(each) for each in mailbox.delivered(len(contents))]
        for content in contents:
            stored = messages.stored(content)
            check(ran, stored in arrived, f"not delivered as it is: {content[:300]!r}")
            arrived.remove(stored)


@group.each("--count 30")
def _(context: Context):
    mailbox = context.bed.postfix.mailbox()
    ran = context.send(url(context, "clear"), "--security", "none", "--message", context.file(HELLO), "--count", "30",
                       expect=0, to=mailbox.address)
    check(ran, len(ran.report["messages"]) == 30, "not a report of each")
    check(ran, ran.report["rate"] is not None, "no rate")
    for delivered in mailbox.delivered(30):
        messages.same(HELLO, delivered)


@group.each("--dsn, --ret and --envid")
def _(context: Context):
    deliver(context, "clear", HELLO, "--security", "none", "--dsn", "never", "--ret", "hdrs", "--envid", "one+two=3")


# Recipients

def results(ran) -> list:
    return [(each["result"], each["code"], each["enhanced"]) for each in ran.report["messages"][0]["recipients"]]


for service in ("clear", "grouped", "plain"):
    @group.each(f"a recipient refused among accepted ones: 65, {service}")
    def _(context: Context, service=service):
        first, second = context.bed.postfix.mailbox(), context.bed.postfix.mailbox()
        ran = context.send(url(context, service), "--security", "none", "--require", "any",
                           "--message", context.file(HELLO), expect=65,
                           to=[first.address, "nobody@example.org", second.address])
        check(ran, ran.report["outcome"] == "partial", "not partial")
        check(ran, [each[0] for each in results(ran)] == ["accepted", "refused", "accepted"], "other results")
        check(ran, results(ran)[1][1:] == (550, "5.1.1"), "not the server's reply")
        check(ran, ran.report["messages"][0]["recipients"][1]["address"] == "nobody@example.org", "another order")
        for mailbox in (first, second):
            messages.same(HELLO, mailbox.delivered()[0])

    @group.each(f"a recipient refused, all required: 65 and nothing sent, {service}")
    def _(context: Context, service=service):
        mailbox = context.bed.postfix.mailbox()
        ran = context.send(url(context, service), "--security", "none", "--require", "all",
                           "--message", context.file(HELLO), expect=65, to=[mailbox.address, "nobody@example.org"])
        check(ran, [each[0] for each in results(ran)] == ["not-sent", "refused"], "other results")
        check(ran, mailbox.empty(), "delivered all the same")

    @group.each(f"a recipient deferred: 75, and 65 comes first, {service}")
    def _(context: Context, service=service):
        mailbox = context.bed.postfix.mailbox()
        server = url(context, service), "--security", "none", "--require", "any", "--message", context.file(HELLO)
        ran = context.send(*server, expect=75, to="later@example.org")
        check(ran, ran.report["outcome"] == "deferred", "not deferred")
        check(ran, results(ran) == [("deferred", 451, "4.2.0")], "other results")
        ran = context.send(*server, expect=65, to=["later@example.org", "nobody@example.org", mailbox.address])
        check(ran, [each[0] for each in results(ran)] == ["deferred", "refused", "accepted"], "other results")
        messages.same(HELLO, mailbox.delivered()[0])

    @group.each(f"every recipient refused: 65, and the next message is sent, {service}")
    def _(context: Context, service=service):
        ran = context.send(url(context, service), "--security", "none", "--message", context.file(HELLO),
                           "--message", context.file(HELLO), expect=65, to=["nobody@example.org", "no@example.org"])
        check(ran, ran.report["outcome"] == "refused", "not refused")
        check(ran, len(ran.report["messages"]) == 2, "not two messages")
        for message in ran.report["messages"]:
            check(ran, [each["result"] for each in message["recipients"]] == ["refused"] * 2, "other results")
            check(ran, [each["code"] for each in message["recipients"]] == [550] * 2, "other codes")


@group.each("grouping hidden or offered: the same report, in fewer flights")
def _(context: Context):
    seen, flights = {}, {}
    to = [context.bed.postfix.mailbox().address, "nobody@example.org", context.bed.postfix.mailbox().address]
    for service in ("plain", "grouped", "clear"):
        ran = context.send(url(context, service), "--security", "none", "--require", "any",
                           "--message", context.file(HELLO), expect=65, to=to)
        message = ran.report["messages"][0]
        seen[service] = ran.report["outcome"], message["recipients"], message["octets"]
        flights[service] = message["flights"]
    # The queue id in the final reply is another each time.
    for _, recipients, _ in seen.values():
        for each in recipients:
            each["text"] = each["text"].split(" as ")[0]
    assert seen["plain"] == seen["grouped"] == seen["clear"], f"reports differ: {seen}"
    assert flights["plain"] == 6, f"MAIL, three RCPT, DATA and the body are {flights['plain']} flights"
    assert flights["grouped"] == 2, f"a group and the body are {flights['grouped']} flights"
    assert flights["clear"] == 1, f"a group with its body is {flights['clear']} flights"


@group.each("--without PIPELINING,CHUNKING")
def _(context: Context):
    ran = deliver(context, "clear", HELLO, "--security", "none", "--without", "PIPELINING,CHUNKING")
    check(ran, ran.report["messages"][0]["flights"] == 4, "not MAIL, RCPT, DATA and the body")


# What does not begin

@group.each("unknown host: 68")
def _(context: Context):
    ran = context.send("smtp://nowhere.invalid:25", "--security", "none", expect=68)
    check(ran, ran.report["error"]["kind"] == "resolve", "another kind")


@group.each("closed port: 69")
def _(context: Context):
    with ports.closed() as port:
        ran = context.send(f"smtp://127.0.0.1:{port}", "--security", "none", expect=69)
    check(ran, ran.report["error"]["kind"] == "connect", "another kind")


@group.each("missing file: 66")
def _(context: Context):
    ran = context.send(url(context, "clear"), "--security", "none", "--message", context.folder / "none", expect=66)
    check(ran, ran.report["error"]["kind"] == "input", "another kind")


@group.each("a line end in an address: 64")
def _(context: Context):
    for bad in ("alice@example.org>\r\nRCPT TO:<bob@example.org", "alice\n@example.org"):
        ran = context.send(url(context, "clear"), "--security", "none", expect=64, to=bad)
        check(ran, ran.report["error"]["kind"] == "usage", "another kind")


@group.each("an unknown option: 64")
def _(context: Context):
    ran = context.smtp("send", "--no-such-option")
    check(ran, ran.status == 64, "not 64")
