"""The messages that are sent, and what a Maildir holds of them afterwards."""

import re

# Complete, so that no server has a reason to add a header.
HEAD = b"""\
From: alice@example.org
To: alice@example.org
Date: Thu, 01 Jan 2026 00:00:00 +0000
Message-ID: <%s@example.org>
Subject: %s
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

"""


def whole(name: str, body: bytes) -> bytes:
    return HEAD.replace(b"%s", name.encode()) + body


def big(name: str, size: int) -> bytes:
    """A message of `size` octets whose lines all differ, some of them beginning with a dot."""
    head = whole(name, b"")
    lines, total, n = [head], len(head), 0
    while total < size:
        line = b"%s%09d %s\n" % (b"." if n % 7 == 0 else b"", n, b"=-" * (n % 35))
        lines.append(line)
        total += len(line)
        n += 1
    message = b"".join(lines)[:size - 1]
    return message + b"\n"


SMALL = {
    "small": whole("small", b"Hello.\n"),
    "no body": whole("no-body", b""),
    "leading dots": whole("leading-dots", b".\n..\n...\n.a\n\n.\nb.\n.\n"),
    "dot first in the body": whole("dot-first", b".\nafter the dot\n"),
    # No header at all: the first octet that is sent is the dot.
    "dot alone on the first line": b".\nafter the dot\n",
    "dot first in the header": b".Dotted: yes\n" + whole("dotted-header", b"Hello.\n"),
    "no final newline": whole("no-final-newline", b"first\nlast"),
    "no final newline after a dot": whole("no-final-newline-dot", b"first\n."),
    "final blank lines": whole("final-blank-lines", b"first\n\n\n"),
    "CRLF throughout": whole("crlf", b"first\n.second\n\nlast\n").replace(b"\n", b"\r\n"),
    "CRLF, no final one": whole("crlf-no-final", b"first\nlast").replace(b"\n", b"\r\n"),
    "mixed line ends": whole("mixed", b"one\r\ntwo\nthree\r\n.four\n"),
    "lines of 998": whole("long", b"".join(bytes([c]) * 998 + b"\n" for c in b"abc.") + b"." + b"x" * 997 + b"\n"),
    "8-bit": whole("8-bit", "Grüße, 你好, \u00a0\u2028.\n".encode() + bytes(range(0x80, 0x100)) + b"\n"),
}


def stored(sent: bytes) -> bytes:
    """What a store makes of a message: LF for CRLF, and a last line that is ended."""
    text = sent.replace(b"\r\n", b"\n")
    if not text.endswith(b"\n"):
        text += b"\n"
    # Postfix ends its own trace with a blank line where the message does not go on with a header.
    return text if re.match(rb"[!-9;-~]+[ \t]*:", text) else b"\n" + text


# In this order, once each, and nothing else.
TRACE = re.compile(rb"Return-Path: <[^\n]*>\nX-Original-To: [^\n]+\nDelivered-To: [^\n]+\n"
                   rb"Received: [^\n]+\n(?:[ \t][^\n]*\n)+")


def without_trace(delivered: bytes) -> bytes:
    trace = TRACE.match(delivered)
    if not trace:
        raise AssertionError(f"the trace is not as expected: {delivered[:600]!r}")
    return delivered[trace.end():]


def same(sent: bytes, delivered: bytes):
    """Fails at the first octet that differs."""
    want, got = stored(sent), without_trace(delivered)
    if want == got:
        return
    at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
    raise AssertionError(f"the delivered message differs at octet {at}: sent {want[max(0, at - 30):at + 60]!r}, "
                         f"delivered {got[max(0, at - 30):at + 60]!r} ({len(want)} and {len(got)} octets)")
