"""The JSON reports of `smtp send` and `smtp probe`, as the command's description and docs/PROBE.md promise them."""

OUTCOMES = {"delivered", "partial", "refused", "deferred", "unknown", "failed", "validated"}
KINDS = {"usage", "input", "resolve", "connect", "proxy", "tls", "protocol", "auth", "timeout", "closed", "refused",
         "interrupted"}
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

ERROR = {"kind": one_of(KINDS), "phase": nullable(str), "hop": nullable(count), "text": str}
CERTIFICATE = {"subject": str, "names": [str], "issuer": str, "not_before": str, "not_after": str, "expired": bool,
               "days_left": int}
OFFER = {"extensions": [{"keyword": str, "parameters": [str]}], "mechanisms": [str]}
PROBE = {
    "exit": count,
    "error": nullable(ERROR),
    "host": str,
    "addresses": [str],
    "resolve_seconds": nullable(number),
    "route": [str],
    "ports": [{"port": count, "connects": bool, "address": nullable(str),
               "speaks": nullable(one_of({"smtp", "tls", "other", "nothing"})),
               "mode": nullable(one_of({"none", "starttls", "implicit"})), "secure": bool,
               "greeting": nullable({"code": count, "lines": [str]}), "starttls": nullable(bool),
               "tls": nullable({"version": one_of({"1.2", "1.3"}), "cipher": str}),
               "certificate": nullable(CERTIFICATE | {"trusted": bool, "why_not": nullable(str), "chain": [CERTIFICATE]}),
               "before_tls": nullable(OFFER), "under_tls": nullable(OFFER),
               "times": [{"phase": str, "seconds": number}], "error": nullable(ERROR)}],
    "recommended": nullable({"port": count, "mode": one_of({"starttls", "implicit"}), "server": str, "arguments": [str],
                             "line": str, "hint": nullable(str)}),
    "authentication": nullable({"port": count, "mechanism": nullable(str), "error": nullable(ERROR)}),
    "seconds": number,
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


def complaints_of_probe(report, status: int) -> list[str]:
    found = sorted(misfits(PROBE, report, "report"))
    if found:
        return found
    if status not in STATUSES - {74}:
        found.append(f"exit status {status} is not described")
    if report["exit"] != status:
        found.append(f"the report says exit {report['exit']}")
    if (status == 0) != (report["error"] is None):
        found.append("an error that does not go with the status")
    if status == 0 and report["recommended"] is None:
        found.append("success, and nothing is recommended")
    for port in report["ports"]:
        if port["secure"] != (port["error"] is None) or port["secure"] and not (
                port["tls"] and port["certificate"]["trusted"] and port["mode"] in ("starttls", "implicit")):
            found.append(f"port {port['port']} is not secure, or should be")
    return found


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
