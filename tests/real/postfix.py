"""Postfix in a folder of its own: configuration, queue, data and mail store; several ports, no way out.

The SMTP clients among its services know a loopback port each, so nothing can leave the machine.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import ports
from ca import Authority
from dovecot import PASSWORD, USER, Dovecot

MAILBOXES = 1000

# Strict where it shows a client's slip: bare line feeds and commands sent too early are refused.
MAIN = """\
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
multi_instance_name =
myhostname = mail.example.org
mydestination =
mynetworks =
inet_interfaces = loopback-only
inet_protocols = {protocols}
smtpd_peername_lookup = no
alias_maps =
alias_database =
local_recipient_maps =
local_transport = error:5.1.1 no local delivery
relay_transport = error:5.1.1 no relay
default_transport = error:5.1.1 no relay
relay_domains = {relayed}
transport_maps = texthash:{folder}/etc/transport
# "localhost" is found without asking anybody.
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_CAfile = {ca.root}
smtp_sasl_password_maps = texthash:{folder}/etc/passwords
smtp_sasl_security_options = noanonymous
# Nobody waits for a second try.
maximal_queue_lifetime = 0
bounce_queue_lifetime = 0
notify_classes =
biff = no

virtual_mailbox_domains = example.org
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
message_size_limit = 209715200
# Nothing is added to a message but the trace.
local_header_rewrite_clients =

smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/etc/recipients
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
smtpd_forbid_bare_newline = reject
smtpd_forbid_bare_newline_exclusions =
smtpd_forbid_unauth_pipelining = yes
smtpd_timeout = 60s

smtpd_tls_chain_files = {ca.key}, {ca.cert}
smtpd_tls_security_level = may
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl}
smtpd_sasl_security_options = noanonymous
"""

MASTER = """\
postlog   unix-dgram n - n - 1 postlogd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
scache    unix - - n - 1 scache
proxymap  unix - - n - - proxymap
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
"""

# What each port differs in. `clear` offers everything, `grouped` has only DATA, `plain` neither groups nor chunks.
SERVICES = {
    "clear": {},
    "submission": {"smtpd_tls_security_level": "encrypt", "smtpd_tls_auth_only": "yes",
                   "smtpd_client_restrictions": "permit_sasl_authenticated,reject"},
    "smtps": {"smtpd_tls_wrappermode": "yes", "smtpd_client_restrictions": "permit_sasl_authenticated,reject"},
    "mutual": {"smtpd_tls_security_level": "encrypt", "smtpd_tls_req_ccert": "yes", "smtpd_sasl_auth_enable": "no"},
    "grouped": {"smtpd_discard_ehlo_keywords": "chunking"},
    "plain": {"smtpd_discard_ehlo_keywords": "pipelining,chunking"},
    "bare": {"smtpd_tls_security_level": "none", "smtpd_sasl_auth_enable": "no"},
}

# What is addressed to NAME.relay.example goes on to the port of that name, where a case may have a server.
_TLS = {"smtp_tls_security_level": "secure", "smtp_tls_secure_cert_match": "nexthop"}
RELAYS = {
    "clear": ("smtp", {}),
    "starttls": ("smtp", _TLS),
    "implicit": ("smtp", _TLS | {"smtp_tls_wrappermode": "yes"}),
    "lmtp": ("lmtp", {}),
    "refusing": ("smtp", {}),
    "deferring": ("smtp", {}),
    "crowd": ("smtp", {"initial_destination_concurrency": "20"}),
} | {mechanism: ("smtp", _TLS | {"smtp_sasl_auth_enable": "yes", "smtp_sasl_mechanism_filter": mechanism})
     for mechanism in ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256")}


@dataclass(frozen=True)
class Mailbox:
    address: str
    folder: Path

    def delivered(self, count: int = 1, seconds: float = 30) -> list[bytes]:
        """The messages in it, once there are `count`, in the order of their arrival."""
        end = time.monotonic() + seconds
        while len(files := list((self.folder / "new").glob("*"))) < count:
            if time.monotonic() > end:
                raise AssertionError(f"{self.address} has {len(files)} messages and not {count}")
            time.sleep(0.02)
        return [file.read_bytes() for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]

    def empty(self) -> bool:
        return not any(self.folder.glob("new/*"))


class Postfix:
    def __init__(self, folder: Path, ca: Authority, sasl: Dovecot):
        self.folder = folder
        self.etc = folder / "etc"
        self.log = folder / "log"
        for part in (folder, self.etc, folder / "queue"):
            part.mkdir(mode=0o755)
        for part, owner in (("data", "postfix"), ("mail", "nobody")):
            (folder / part).mkdir(mode=0o700)
            subprocess.run(["chown", owner, str(folder / part)], check=True)
        self.port = dict(zip(SERVICES, ports.free(len(SERVICES))))
        self.relay = dict(zip(RELAYS, ports.quiet(len(RELAYS))))
        # At both addresses, where there are two: proxies take the first that a name leads to.
        hosts = ["127.0.0.1"] + ["[::1]"] * ports.ipv6()
        (self.etc / "main.cf").write_text(
            MAIN.format(folder=folder, ca=ca, sasl=sasl.socket, protocols=", ".join(["ipv4", "ipv6"][:len(hosts)]),
                        relayed=", ".join(f"{name}.relay.example" for name in RELAYS))
            + f"smtpd_tls_CAfile = {ca.root}\n")
        (self.etc / "master.cf").write_text(MASTER + "".join(
            f"{host}:{self.port[name]} inet n - n - - smtpd"
            + "".join(f"\n  -o {key}={value}" for key, value in options.items()) + "\n"
            for name, options in SERVICES.items() for host in hosts) + "".join(
            f"relay-{name} unix - - n - - {kind} -o inet_protocols=ipv4"
            + "".join(f" -o {key}={value}" for key, value in options.items()) + "\n"
            for name, (kind, options) in RELAYS.items()))
        hops = {name: f"inet:127.0.0.1:{port}" if RELAYS[name][0] == "lmtp" else f"[localhost]:{port}"
                for name, port in self.relay.items()}
        (self.etc / "transport").write_text("".join(
            f"{name}.relay.example relay-{name}:{hop}\n" for name, hop in hops.items()))
        (self.etc / "passwords").write_text("".join(f"{hop} {USER}:{PASSWORD}\n" for hop in hops.values()))
        names = ["alice", *(f"to-{n}" for n in range(MAILBOXES))]
        (self.etc / "mailboxes").write_text("".join(f"{name}@example.org {name}/\n" for name in names))
        (self.etc / "recipients").write_text("later@example.org 451 4.2.0 come again\n")
        (self.etc / "mailboxes").open("a").write("later@example.org later/\n")
        self._unused = iter(names[1:])

    def mailbox(self) -> Mailbox:
        """One that nobody else was given."""
        name = next(self._unused)
        return Mailbox(f"{name}@example.org", self.folder / "mail" / name)

    def _control(self, verb: str):
        done = subprocess.run(["postfix", "-c", str(self.etc), verb], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        if done.returncode:
            log = self.log.read_text() if self.log.exists() else ""
            raise RuntimeError(f"postfix {verb}: {done.stdout}{log}")

    def start(self):
        self._control("start")
        for port in self.port.values():
            ports.wait(port)

    def stop(self):
        self._control("stop")
