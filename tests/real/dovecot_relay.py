"""Dovecot as an LMTP server that passes everything on: to LMTP and SMTP servers on loopback ports."""

import socket
from pathlib import Path

import ports
from dovecot import Dovecot

CONFIG = """\
protocols = lmtp
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
lmtp_proxy = yes
hostname = dovecot.example.org
passdb {{
  driver = passwd-file
  args = {folder}/passwd
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


class DovecotRelay(Dovecot):
    """While it is used as a context; `ways` has the port and the protocol, `lmtp` or `smtp`, of each recipient."""

    def __init__(self, folder: Path, ways: dict[str, tuple[int, str]]):
        self.folder, self.log = folder, folder / "log"
        self.port, = ports.free(1)
        folder.mkdir(mode=0o755)
        (folder / "state").mkdir()
        (folder / "dovecot.conf").write_text(CONFIG.format(folder=folder, port=self.port))
        (folder / "passwd").write_text("".join(
            f"{recipient}:::::::proxy=y nopassword=y host=127.0.0.1 port={port} protocol={protocol}\n"
            for recipient, (port, protocol) in ways.items()))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False
