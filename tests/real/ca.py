"""A throw-away certificate authority: one root that is trusted, one that is not, a server and a client."""

import subprocess
from pathlib import Path

SERVER = """\
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1,IP:::1
"""

CLIENT = """\
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = email:alice@example.org
"""


class Authority:
    """Files in one folder; every certificate comes as NAME.pem beside its NAME.key."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        self._root("root", "Throw-away root")
        self._root("other", "Unrelated root")
        self._leaf("server", "localhost", SERVER)
        self._leaf("client", "alice", CLIENT)
        self.root, self.other = folder / "root.pem", folder / "other.pem"
        self.cert, self.key = folder / "server.pem", folder / "server.key"
        self.client_cert, self.client_key = folder / "client.pem", folder / "client.key"

    def _openssl(self, *args: str):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def _root(self, name: str, subject: str):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _leaf(self, name: str, subject: str, extensions: str):
        (self.folder / f"{name}.ext").write_text(extensions)
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key",
                      "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
