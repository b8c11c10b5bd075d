"""Cases: how they are declared, run side by side and reported in order."""

import contextlib
import itertools
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import command
from ca import Authority
from dovecot import Dovecot
from postfix import Postfix
from proxies import Proxies


@dataclass
class Bed:
    """What the cases share."""
    folder: Path
    ca: Authority
    dovecot: Dovecot
    postfix: Postfix
    proxies: Proxies
    binary: Path


class Context:
    """What one case has: the bed, a runtime and a folder of its own."""

    def __init__(self, bed: Bed, runtime: str | None, folder: Path):
        self.bed, self.runtime, self.folder = bed, runtime, folder
        folder.mkdir()
        self._names = itertools.count()

    def file(self, content: bytes) -> str:
        path = self.folder / f"message-{next(self._names)}"
        path.write_bytes(content)
        return str(path)

    def smtp(self, *args, **limits) -> command.Ran:
        """`smtp ARGS` as they are."""
        return command.run(self.bed.binary, self.folder, [str(arg) for arg in args], **limits)

    def send(self, server: str, *args, expect: int | tuple[int, ...],
             to: str | list[str] = "alice@example.org", **limits) -> command.Ran:
        """`smtp send`, with a report; the exit status must be the expected one, or one of them."""
        recipients = [to] if isinstance(to, str) else to
        ran = self.smtp("send", "--json", "--runtime", self.runtime, "--server", server, "--from", "alice@example.org",
                        *(part for each in recipients for part in ("--to", each)), *args, **limits)
        if ran.status not in (expect if isinstance(expect, tuple) else (expect,)):
            raise command.Wrong(ran, f"exit status {ran.status}, expected {expect}")
        return ran


def check(ran: command.Ran, holds, what: str):
    if not holds:
        raise command.Wrong(ran, what)


@dataclass
class Case:
    group: str
    name: str
    act: Callable
    runtime: str | None

    def __str__(self):
        return f"{self.group}: {self.name}" + (f" [{self.runtime}]" if self.runtime else "")


class Group:
    """Cases of one kind; `each` ones run once for each runtime."""

    def __init__(self, name: str):
        self.name = name
        self.declared: list[tuple[str, Callable, bool]] = []

    def once(self, name: str):
        return self._declare(name, False)

    def each(self, name: str):
        return self._declare(name, True)

    def _declare(self, name: str, each: bool):
        def keep(act):
            self.declared.append((name, act, each))
            return act
        return keep

    def cases(self, runtimes: list[str]):
        for name, act, each in self.declared:
            for runtime in runtimes if each else [None]:
                yield Case(self.name, name, act, runtime)


def run(cases: list[Case], bed: Bed, jobs: int) -> int:
    """Runs all, prints a line for each in the order of declaration, and returns how many failed."""
    def one(number: int, case: Case):
        begin = time.monotonic()
        try:
            case.act(Context(bed, case.runtime, bed.folder / f"case-{number}"))
            why = None
        except AssertionError as error:
            why = str(error) or traceback.format_exc()
        except Exception:
            why = traceback.format_exc()
        return why, time.monotonic() - begin

    failed = 0
    with ThreadPoolExecutor(jobs) as pool, contextlib.ExitStack() as interrupted:
        interrupted.callback(pool.shutdown, wait=False, cancel_futures=True)
        for case, result in [(case, pool.submit(one, n, case)) for n, case in enumerate(cases)]:
            why, seconds = result.result()
            print(f"{'FAILED' if why else 'ok':6} {case} ({seconds:.1f} s)", flush=True)
            if why:
                failed += 1
                print("".join(f"       | {line}\n" for line in why.rstrip().splitlines()), end="", flush=True)
    return failed
