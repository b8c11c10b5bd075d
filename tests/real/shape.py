"""The JSON report of `smtp send`, as the command's description promises it."""

OUTCOMES = {"delivered", "partial", "refused", "deferred", "unknown", "failed", "validated"}
KINDS = {"usage", "input", "resolve", "connect", "proxy", "tls", "protocol", "auth", "timeout", "closed", "refused"}
RESULTS = {"accepted", "refused", "deferred", "unknown", "not-sent"}
STATUSES = {0, 64, 65, 66, 68, 69, 74, 75, 76, 77}

# Which outcomes an exit status can go with.
FITTING = {0: {"delivered", "validated"}, 65: {"refused", "partial", "failed"}, 74: {"unknown", "partial"},
           75: {"deferred", "partial", "failed"}}

nullable = lambda inner: lambda value: value is None or fits(inner, value)
one_of = lambda names: lambda value: isinstance(value, str) and value in names
number = lambda value: type(value) in (int, float) and value >= 0
count = lambda value: type(value) is int and value >= 0

REPLY = {"code": count, "enhanced": nullable(str), "text": str}
REPORT = {
    "outcome": one_of(OUTCOMES),
    "exit": count,
    "error": nullable({"kind": one_of(KINDS), "phase": nullable(str), "hop": nullable(count), "text": str}),
    "server": nullable({"host": str, "port": count, "address": nullable(str)}),
    "route": [str],
    "security": nullable({"mode": one_of({"none", "starttls", "implicit"}), "tls": nullable(one_of({"1.2", "1.3"})),
                          "cipher": nullable(str), "resumed": bool}),
    "authentication": nullable({"mechanism": nullable(str), "supported": [str], "allowed": [str]}),
    "messages": [{"from": nullable(str), "octets": count, "flights": count, "reply": nullable(REPLY),
                  "recipients": [{"address": str, "result": one_of(RESULTS), "code": nullable(count),
                                  "enhanced": nullable(str), "text": nullable(str)}]}],
    "flights": count,
    "seconds": number,
    "rate": nullable({"messages_per_second": number}),
    "hint": nullable(str),
}


def fits(pattern, value) -> bool:
    return not list(misfits(pattern, value, "report"))


def misfits(pattern, value, place: str):
    """The places where a value is not of the pattern: a type, a test, a list of one pattern, or an object."""
    if isinstance(pattern, dict):
        if not isinstance(value, dict):
            yield f"{place} is no object"
            return
        for name in pattern.keys() - value.keys():
            yield f"{place}.{name} is missing"
        for name in value.keys() - pattern.keys():
            yield f"{place}.{name} is not described"
        for name in pattern.keys() & value.keys():
            yield from misfits(pattern[name], value[name], f"{place}.{name}")
    elif isinstance(pattern, list):
        if not isinstance(value, list):
            yield f"{place} is no list"
            return
        for index, item in enumerate(value):
            yield from misfits(pattern[0], item, f"{place}[{index}]")
    elif not (isinstance(value, pattern) if isinstance(pattern, type) else pattern(value)):
        yield f"{place} is {value!r}"


def complaints(report, status: int) -> list[str]:
    found = sorted(misfits(REPORT, report, "report"))
    if found:
        return found
    if status not in STATUSES:
        found.append(f"exit status {status} is not described")
    if report["exit"] != status:
        found.append(f"the report says exit {report['exit']}")
    if report["outcome"] not in FITTING.get(status, {"failed"}):
        found.append(f"exit status {status} with outcome {report['outcome']}")
    if status == 0 and report["error"] is not None:
        found.append("success with an error")
    if status in (64, 66, 68, 69, 74, 76, 77) and report["error"] is None:
        found.append("failure without an error")
    if status == 0:
        server, security = report["server"], report["security"]
        # Behind proxies the address is theirs to know.
        known = server and (server["address"] or report["route"])
        if not (known and security and report["authentication"]):
            return [*found, "success without the server's address, security or authentication"]
        if security["mode"] != "none" and not (security["tls"] and security["cipher"]):
            found.append("TLS without its version and cipher")
    if report["outcome"] == "delivered" and not all(
            recipient["result"] == "accepted" for message in report["messages"] for recipient in message["recipients"]):
        found.append("delivered, and a recipient is not accepted")
    return found
