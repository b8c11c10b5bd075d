"""Real proxies on loopback: microsocks, OpenSSH, tinyproxy, and stunnel before tinyproxy.

Only sshd needs a user: it runs as `nobody` and so needs neither root nor a folder under /run.
"""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import ports
from ca import Authority

# microsocks takes any octets: these need percent-encoding in a URL, every one for another reason.
SOCKS_USER, SOCKS_PASSWORD = "proxy@user:7 %", "open/proxy#7+%@:?!é"
# tinyproxy's configuration knows letters, digits, dots, dashes and underscores only.
HTTP_USER, HTTP_PASSWORD = "proxy.user-7", "Open_proxy-7.sesame"

TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
MaxClients 100
LogLevel Connect
"""

STUNNEL = """\
foreground = yes
pid =
syslog = no
debug = notice
cert = {ca.cert}
key = {ca.key}
TIMEOUTclose = 0
"""

# With PAM, because without it sshd takes `nobody` for a locked account where systemd answers for it.
SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
AllowTcpForwarding local
PermitTTY no
X11Forwarding no
"""


def encoded(text: str) -> str:
    """Percent-encoded as a URL's user or password: all that is no letter or digit, dots and dashes too."""
    return quote(text, safe="").replace(".", "%2E").replace("-", "%2D").replace("_", "%5F")


def url(scheme: str, port: int, login: tuple[str, str] | None = None, host: str = "127.0.0.1") -> str:
    return f"{scheme}://{':'.join(map(encoded, login)) + '@' if login else ''}{host}:{port}"


def shown(proxy: str) -> str:
    """The URL of a proxy as an output may show it."""
    scheme, rest = proxy.split("://")
    return f"{scheme}://{rest.rsplit('@', 1)[-1]}"


class Proxies:
    """All of them, each at `port[NAME]`; `may_reach` are the ports tinyproxy opens tunnels to."""

    # Without a user and with one, for each kind that knows users; `tls` and `tls_user` lead to `http` and `http_user`;
    # `misnamed` is at 127.0.0.2, for which the certificate does not hold.
    NAMES = ("socks", "socks_user", "ssh", "sshd", "http", "http_user", "tls", "tls_user", "misnamed")

    def __init__(self, folder: Path, ca: Authority, may_reach: list[int]):
        self.folder, self.ca, self.may_reach = folder, ca, may_reach
        folder.mkdir(mode=0o755)
        self.port = dict(zip(self.NAMES, ports.free(len(self.NAMES))))
        self.after = contextlib.ExitStack()
        # Refuses connections all the while, at a number that tinyproxy's rules can name; one that they do not name.
        self.closed = self.after.enter_context(ports.closed())
        self.forbidden = self.after.enter_context(ports.closed())

    def start(self):
        self._microsocks()
        self._tinyproxy()
        self._stunnel()
        self._ssh()

    def stop(self):
        self.after.close()

    def url(self, scheme: str, name: str, host: str = "127.0.0.1", login: tuple[str, str] | None = None) -> str:
        """Of the proxy of this name; one that wants a user is given the right one, unless another is named."""
        if login is None and name.endswith("_user"):
            login = (SOCKS_USER, SOCKS_PASSWORD) if name == "socks_user" else (HTTP_USER, HTTP_PASSWORD)
        return url(scheme, self.port[name], login, host)

    def logs(self) -> str:
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')}" for file in files)

    def _run(self, name: str, *args, **how) -> subprocess.Popen:
        """A daemon in the foreground, ended with all its children at the end."""
        with (self.folder / f"{name}.log").open("ab") as log:
            daemon = subprocess.Popen([shutil.which(args[0]) or args[0], *map(str, args[1:])], cwd=self.folder,
                                      stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how)
        self.after.callback(end, daemon)
        return daemon

    def _await(self, name: str, *daemons: subprocess.Popen, host: str = "127.0.0.1"):
        limit = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection((host, self.port[name]), 1).close()
            except OSError:
                if any(daemon.poll() is not None for daemon in daemons) or time.monotonic() > limit:
                    raise RuntimeError(f"{name} did not start\n{self.logs()}") from None
                time.sleep(0.02)

    def _microsocks(self):
        plain = self._run("microsocks", "microsocks", "-i", "127.0.0.1", "-p", self.port["socks"])
        user = self._run("microsocks-user", "microsocks", "-i", "127.0.0.1", "-p", self.port["socks_user"],
                         "-u", SOCKS_USER, "-P", SOCKS_PASSWORD)
        self._await("socks", plain)
        self._await("socks_user", user)

    def _tinyproxy(self):
        allowed = [*self.may_reach, self.closed, *(port for name, port in self.port.items() if name != "sshd")]
        rules = "".join(f"ConnectPort {port}\n" for port in allowed)
        for name, more in [("http", rules), ("http_user", f"BasicAuth {HTTP_USER} {HTTP_PASSWORD}\n")]:
            config = self.folder / f"{name}.conf"
            config.write_text(TINYPROXY.format(port=self.port[name]) + more)
            self._await(name, self._run(f"tinyproxy-{name}", "tinyproxy", "-d", "-c", config))

    def _stunnel(self):
        services = [("tls", "127.0.0.1", "http"), ("tls_user", "127.0.0.1", "http_user"),
                    ("misnamed", "127.0.0.2", "http")]
        config = self.folder / "stunnel.conf"
        config.write_text(STUNNEL.format(ca=self.ca) + "".join(
            f"[{name}]\naccept = {host}:{self.port[name]}\nconnect = 127.0.0.1:{self.port[to]}\n"
            for name, host, to in services))
        daemon = self._run("stunnel", "stunnel4", config)
        for name, host, _ in services:
            self._await(name, daemon, host=host)

    def _ssh(self):
        own = self.folder / "ssh"
        own.mkdir(mode=0o755)
        for key in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", str(own / key)], check=True,
                           stdin=subprocess.DEVNULL, timeout=30)
        shutil.copy(own / "client.pub", own / "authorized")
        (own / "known").write_text(f"[127.0.0.1]:{self.port['sshd']} {(own / 'host.pub').read_text()}")
        (own / "sshd_config").write_text(SSHD.format(port=self.port["sshd"], folder=own))
        shutil.chown(own / "host", "nobody")
        sshd = self._run("sshd", "sshd", "-D", "-e", "-f", own / "sshd_config", user="nobody", group="nogroup",
                         extra_groups=[])
        self._await("sshd", sshd)
        ssh = self._run("ssh", "ssh", "-N", "-F", "none", "-i", own / "client", "-p", self.port["sshd"],
                        "-D", f"127.0.0.1:{self.port['ssh']}", *(part for option in (
                            "IdentitiesOnly=yes", "BatchMode=yes", "ExitOnForwardFailure=yes", "ConnectTimeout=20",
                            f"UserKnownHostsFile={own / 'known'}", "GlobalKnownHostsFile=none",
                            "StrictHostKeyChecking=yes") for part in ("-o", option)),
                        "nobody@127.0.0.1")
        self._await("ssh", ssh)


def end(daemon: subprocess.Popen):
    daemon.terminate()
    try:
        daemon.wait(5)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
