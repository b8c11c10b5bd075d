"""Runs the `smtp` command under limits, and checks what must hold of every run."""

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import shape

MEASURED = Path(__file__).with_name("measured.py")


@dataclass
class Ran:
    line: str
    status: int
    report: dict
    stdout: str
    stderr: str
    seconds: float
    peak_mib: float

    def __str__(self):
        return f"$ {self.line}\nstatus {self.status}, {self.seconds:.1f} s, {self.peak_mib:.0f} MiB\n" \
               f"stdout: {self.stdout[:3000].strip()}\nstderr: {self.stderr[:3000].strip()}"


class Wrong(AssertionError):
    """An expectation that a run does not meet."""

    def __init__(self, ran: Ran, what: str):
        super().__init__(f"{what}\n{ran}")


def disguises(secret: str) -> list[bytes]:
    """The forms in which a secret could leak: as it is, and at each of base64's three alignments."""
    octets = secret.encode()
    forms = [octets]
    for lead in range(3):
        whole = base64.b64encode(b"\0" * lead + octets)
        # The groups at the ends mix with their neighbours.
        forms.append(whole[4 if lead else 0:len(whole) // 4 * 4 - 4])
    return forms


def leaks(secret: str, output: bytes) -> bool:
    return any(form in output for form in disguises(secret))


def run(binary: Path, folder: Path, args: list[str], *, env: dict[str, str] | None = None, stdin: bytes = b"",
        timeout: float = 30, secrets: tuple[str, ...] = ()) -> Ran:
    """`smtp ARGS`, with nothing inherited that could change its mind, killed with all its children when time is up."""
    line = shlex.join(["smtp", *args])
    with tempfile.TemporaryDirectory(dir=folder) as own:
        peak = Path(own, "peak")
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(MEASURED), str(peak), str(binary), *args], cwd=own, start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": own, "LC_ALL": "C.UTF-8", "RUST_BACKTRACE": "1", **(env or {})},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            raise AssertionError(f"still running after {timeout} s\n$ {line}\n"
                                 f"stdout: {stdout[:3000].decode(errors='replace')}\n"
                                 f"stderr: {stderr[:3000].decode(errors='replace')}") from None
        ran = Ran(line, process.returncode, {}, stdout.decode(errors="replace"), stderr.decode(errors="replace"),
                  time.monotonic() - begin, int(peak.read_text()) / 1024)
    if "panicked at" in ran.stderr:
        raise Wrong(ran, "a panic")
    if any(leaks(secret, stdout + stderr) for secret in secrets):
        raise Wrong(ran, "a secret in an output")
    if ran.status and not ran.stderr.strip():
        raise Wrong(ran, "a failure, and nothing on stderr")
    if "--json" in args:
        try:
            ran.report = json.loads(stdout.decode())
        except ValueError as error:
            raise Wrong(ran, f"stdout is not one JSON object: {error}") from None
        judge = shape.complaints_of_probe if args[0] == "probe" else shape.complaints
        if complaints := judge(ran.report, ran.status):
            raise Wrong(ran, "; ".join(complaints))
    return ran
