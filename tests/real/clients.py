"""`smtp serve` as a server for a case, and the clients that nobody here wrote: swaks, curl, msmtp, Python's smtplib,
gsasl.

Each client is told to deliver octets, and says what becomes of them by its own description.
"""

import json
import os
import re
import shlex
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import relay
from command import Ran, Wrong
from dovecot import PASSWORD, USER
from scripted import Peer
from suite import Context

FROM, TO = "alice@example.org", "bob@example.org"
HELO = "client.example.org"
CLEAR, STARTTLS, IMPLICIT = "none", "starttls", "implicit"
SECURITY = (CLEAR, STARTTLS, IMPLICIT)


@dataclass
class Kept:
    """A message as the server kept it."""
    envelope: dict
    content: bytes

    @property
    def recipients(self) -> list[str]:
        return [to["address"] for to in self.envelope["recipients"]]


class Serve:
    """The server on a free port while it is used as a context; at its end it must go when told to, with status 0."""

    def __init__(self, context: Context, *args, security: str = CLEAR, user: bool = False, port: int = 0,
                 throw_away: bool = False):
        self.ca = context.bed.ca
        self.folder = context.folder / f"serve-{time.monotonic_ns()}"
        self.folder.mkdir()
        self.store = self.folder / "store"
        self.root = self.ca.root
        line = [str(context.bed.binary), "serve", "--listen", f"127.0.0.1:{port}", "--json", "--store", str(self.store),
                "--tls", security, *map(str, args)]
        if security != CLEAR and not throw_away:
            line += ["--cert", str(self.ca.cert), "--key", str(self.ca.key)]
        if user:
            line += ["--user", USER, "--password-env", "TEST_PASSWORD"]
        self.line, self.security = line, security
        self.began = time.monotonic()
        self.expected = None

    def __enter__(self):
        with open(self.folder / "stdout", "wb") as out, open(self.folder / "stderr", "wb") as err:
            self.process = subprocess.Popen(
                self.line, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                env={"PATH": os.environ["PATH"], "RUST_BACKTRACE": "1", "TEST_PASSWORD": PASSWORD})
        try:
            end = time.monotonic() + 20
            while not (told := self.told()):
                if self.process.poll() is not None or time.monotonic() > end:
                    raise self.wrong("does not listen")
                time.sleep(0.01)
            self.root = told[0]["ca"] or self.root
            self.port = int(told[0]["listening"].rpartition(":")[2])
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "none, it had to be killed"
        # It tells of clients that speak before the greeting; some say QUIT there, because they give up.
        told = (self.folder / "stderr").read_text().splitlines()
        if status != 0 or any(" spoke before the greeting: " not in line for line in told):
            wrong = self.wrong(f"ended with status {status}")
            raise wrong if kind is None else wrong from value
        if kind is None and self.expected is not None and self._stored() != (2 * self.expected, self.expected):
            raise self.wrong(f"has kept {self._stored()} (files, messages) in the end, not {self.expected} messages")

    def wrong(self, what: str) -> Wrong:
        return Wrong(Ran(shlex.join(self.line), self.process.poll() or 0, {}, (self.folder / "stdout").read_text(),
                         (self.folder / "stderr").read_text(), time.monotonic() - self.began, 0), f"the server {what}")

    def told(self) -> list[dict]:
        """What it says: where it listens, then each message."""
        lines = (self.folder / "stdout").read_text().splitlines(True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def kept(self, count: int = 1, seconds: float = 30) -> list[Kept]:
        """The messages in the store, once there are `count` and no others; each has been told of as well."""
        end = time.monotonic() + seconds
        while (found := self._stored()) != (2 * count, count) or len(self.told()) != count + 1:
            if time.monotonic() > end:
                raise self.wrong(f"kept (files, messages) {found} and not {count} messages")
            time.sleep(0.02)
        self.expected = count
        return [Kept(json.loads(path.read_text()), path.with_suffix(".eml").read_bytes())
                for path in sorted(self.store.glob("*.json"), key=_arrival)]

    def _stored(self) -> tuple[int, int]:
        names = [path.name for path in self.store.iterdir()]
        return len(names), sum(name.endswith(".json") for name in names)


def _arrival(path: Path) -> tuple[str, int]:
    # Two of the same microsecond are told apart by a count.
    moment, _, count = path.stem.rsplit("-", 2)
    return moment, int(count)


def lines_of(content: bytes) -> bytes:
    """The content as it goes on the wire, before stuffing: lines that end with CRLF, the last one too."""
    text = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return text if text.endswith(b"\r\n") or not text else text + b"\r\n"


def same(sent: bytes, got: bytes):
    """Fails at the first octet that differs."""
    if sent == got:
        return
    at = next((i for i, (a, b) in enumerate(zip(sent, got)) if a != b), min(len(sent), len(got)))
    raise AssertionError(f"what arrived differs at octet {at}: sent {sent[max(0, at - 30):at + 60]!r}, "
                         f"arrived {got[max(0, at - 30):at + 60]!r} ({len(sent)} and {len(got)} octets)")


def run(context: Context, line: list, *, stdin: bytes = b"", timeout: float = 60) -> Ran:
    """A client's command, with no configuration but the one given."""
    line = [str(part) for part in line]
    begin = time.monotonic()
    done = subprocess.run(line, cwd=context.folder, input=stdin, capture_output=True, timeout=timeout,
                          env={"PATH": os.environ["PATH"], "HOME": str(context.folder), "LC_ALL": "C.UTF-8"})
    return Ran(shlex.join(line), done.returncode, {}, done.stdout.decode(errors="replace")[-3000:],
               done.stderr.decode(errors="replace")[-3000:], time.monotonic() - begin, 0)


class Swaks:
    """With `--no-data-fixup` it says what it is given, and nothing else: stuffed already, and with the final dot.

    It cannot be given an empty message: the dot alone is taken for the name of a file.
    """
    name = "swaks"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")

    def send(self, context: Context, server: Serve, content: bytes, *args, mechanism: str | None = None,
             password: str = PASSWORD, to: list[str] = [TO]) -> Ran:
        wire = re.sub(rb"(?m)^\.", b"..", lines_of(content)) + b"."
        line = ["swaks", "--server", "127.0.0.1", "--port", server.port, "--helo", HELO, "--from", FROM,
                "--to", ",".join(to), "--no-data-fixup", "--data", "-", "--suppress-data", "--timeout", "20"]
        if server.security != CLEAR:
            line += ["--tls" if server.security == STARTTLS else "--tls-on-connect",
                     "--tls-verify", "--tls-ca-path", server.root]
        if mechanism:
            line += ["--auth", mechanism, "--auth-user", USER, "--auth-password", password]
        return run(context, [*line, *args], stdin=wire)

    def arrives(self, content: bytes) -> bytes:
        return lines_of(content)


class Curl:
    """Takes the octets as they are, stuffs them and ends the last line."""
    name = "curl"
    # Of the two mechanisms for tokens it takes the newer.
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER")

    def send(self, context: Context, server: Serve, content: bytes, *args, mechanism: str | None = None,
             password: str = PASSWORD, to: list[str] = [TO]) -> Ran:
        scheme = "smtps" if server.security == IMPLICIT else "smtp"
        line = ["curl", "-q", "--silent", "--show-error", f"{scheme}://127.0.0.1:{server.port}/{HELO}",
                "--mail-from", FROM, *(part for each in to for part in ("--mail-rcpt", each)),
                "--upload-file", context.file(lines_of(content)), "--cacert", server.root, "--max-time", "30"]
        if server.security == STARTTLS:
            line.append("--ssl-reqd")
        if mechanism:
            line += ["--login-options", f"AUTH={mechanism}"]
            line += ["--user", f"{USER}:{password}"] if mechanism != "OAUTHBEARER" else [
                "--user", f"{USER}:", "--oauth2-bearer", password]
        return run(context, [*line, *args])

    def arrives(self, content: bytes) -> bytes:
        return lines_of(content)


class Msmtp:
    """Ends all lines with CRLF; header fields that are missing are not added when told so."""
    name = "msmtp"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2")

    def send(self, context: Context, server: Serve, content: bytes, *args, mechanism: str | None = None,
             password: str = PASSWORD, to: list[str] = [TO]) -> Ran:
        line = ["msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={server.port}", f"--domain={HELO}",
                f"--from={FROM}", "--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off",
                "--timeout=20"]
        line += ["--tls=off"] if server.security == CLEAR else [
            "--tls=on", f"--tls-trust-file={server.root}",
            f"--tls-starttls={'on' if server.security == STARTTLS else 'off'}"]
        if mechanism:
            line += [f"--auth={mechanism.lower()}", f"--user={USER}",
                     f"--passwordeval=cat {context.file(password.encode())}"]
        return run(context, [*line, *args, *to], stdin=content)

    def arrives(self, content: bytes) -> bytes:
        return lines_of(content)


class Smtplib:
    """Stuffs, and ends the last line, that of an empty message too. Its exceptions are for the case."""
    name = "smtplib"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")

    def connect(self, server: Serve, timeout: float = 30) -> smtplib.SMTP:
        trusting = ssl.create_default_context(cafile=str(server.root))
        if server.security == IMPLICIT:
            return smtplib.SMTP_SSL("127.0.0.1", server.port, HELO, timeout=timeout, context=trusting)
        peer = smtplib.SMTP("127.0.0.1", server.port, HELO, timeout=timeout)
        if server.security == STARTTLS:
            peer.starttls(context=trusting)
        return peer

    def send(self, context: Context, server: Serve, content: bytes, *, mechanism: str | None = None,
             password: str = PASSWORD, to: list[str] = [TO]) -> Ran:
        begin = time.monotonic()
        status = 0
        with self.connect(server) as peer:
            peer.ehlo()
            if mechanism:
                peer.user, peer.password = USER, password
                try:
                    peer.auth(mechanism, getattr(peer, "auth_" + mechanism.lower().replace("-", "_")))
                except smtplib.SMTPAuthenticationError as error:
                    status = error.smtp_code
            if not status:
                peer.sendmail(FROM, to, lines_of(content))
        return Ran(f"smtplib {mechanism}", status, {}, "", "", time.monotonic() - begin, 0)

    def arrives(self, content: bytes) -> bytes:
        return lines_of(content) or b"\r\n"


class Gsasl:
    """Logs in and delivers nothing; the only one that binds to the channel.

    It says STARTTLS before EHLO, so `introduced` says EHLO for it; what follows passes as it is, TLS is end to end.
    """

    def login(self, context: Context, port: int, root, mechanism: str, *args, password: str = PASSWORD) -> Ran:
        return run(context, ["gsasl", "--smtp", "--connect", f"localhost:{port}", "--starttls", "--x509-ca-file", root,
                             "--mechanism", mechanism, "--authentication-id", USER, "--password", password, *args])


def introduced(port: int):
    """A conversation: a way to the server on that port, behind its answer to EHLO."""
    def talk(peer: Peer):
        with socket.create_connection(("127.0.0.1", port), 20) as server:
            replies = server.makefile("rb")
            greeting = replies.readline()
            server.sendall(f"EHLO {HELO}\r\n".encode())
            while replies.readline()[3:4] == b"-":
                pass
            peer.say(greeting)
            back = threading.Thread(target=relay.pump, args=[server, peer.stream, 65536], daemon=True)
            back.start()
            relay.pump(peer.stream, server, 65536)
            back.join(20)
    return talk


ALL = (Swaks(), Curl(), Msmtp(), Smtplib())
