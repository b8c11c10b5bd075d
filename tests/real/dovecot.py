"""Dovecot as a SASL back end and nothing else: no IMAP, no TCP port, one UNIX socket for Postfix."""

import base64
import hashlib
import hmac
import json
import socket
import subprocess
import time
from pathlib import Path

USER = "alice@example.org"
# Needs percent-encoding in a URL, and is long enough that finding it in an output is no chance.
PASSWORD = "open sesame/7+%@!"
MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"]

CONFIG = """\
protocols =
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_cache_size = 0
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/passwd
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {socket} {{
    mode = 0600
    user = postfix
  }}
}}
# Else a second failure from one address is answered late.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""

# Tokens are checked here, by their signature: no token server is asked.
OAUTH2 = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = sub
username_format = %u
"""

KEY = b"a key for the tests, thirty-two!"


def token(user: str = USER, valid: bool = True) -> str:
    """A signed JSON web token (HS256), good for an hour; or one whose signature is wrong."""
    def url64(octets: bytes) -> str:
        return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

    now = int(time.time())
    head = url64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "default"}).encode())
    claims = url64(json.dumps({"sub": user, "iat": now - 60, "nbf": now - 60, "exp": now + 3600}).encode())
    key = KEY if valid else KEY[::-1]
    return f"{head}.{claims}." + url64(hmac.new(key, f"{head}.{claims}".encode(), hashlib.sha256).digest())


class Dovecot:
    def __init__(self, folder: Path):
        self.folder = folder
        self.socket = folder / "sasl"
        self.log = folder / "log"
        folder.mkdir(mode=0o755)
        (folder / "state").mkdir()
        keys = folder / "keys" / "default" / "HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(base64.b64encode(KEY))
        (folder / "passwd").write_text(f"{USER}:{PASSWORD}\n")
        (folder / "oauth2.conf").write_text(OAUTH2.format(folder=folder))
        mechanisms = " ".join(MECHANISMS).lower()
        config = CONFIG.format(folder=folder, mechanisms=mechanisms, socket=self.socket)
        (folder / "dovecot.conf").write_text(config)

    def start(self):
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(self.folder / "dovecot.conf")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 20
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Dovecot did not start: {self.process.stderr.read1().decode()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
                return True
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
