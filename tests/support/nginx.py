"""A real nginx of a test's own on loopback, with the configuration of `deploy/nginx.conf`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"

_AROUND = """\
{user}
pid {folder}/pid;
error_log {folder}/error.log;
daemon off;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {served}
}}
"""


def program() -> str | None:
    """The path of nginx, None where it is not installed."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def configured(port: int, keys: Path, servers: Sequence[int]) -> str:
    """The documented configuration with another port, the certificate in the folder `keys`, and these servers."""
    text = CONFIGURATION.read_text()
    upstream = " ".join(f"server 127.0.0.1:{server};" for server in servers)
    for documented, here in (
        ("listen 8443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/srv/study/server.pem", str(keys / "server.pem")),
        ("/srv/study/server.key", str(keys / "server.key")),
        ("server 127.0.0.1:8444;", upstream),
    ):
        assert text.count(documented) == 1, f"{documented} is not in {CONFIGURATION.name} once"
        text = text.replace(documented, here)
    return text


@contextmanager
def nginx(binary: str, folder: Path, served: str, port: int) -> Iterator[None]:
    """An nginx at work in `folder`, which serves at `port`; it is gone at the end."""
    folder.mkdir()
    # Its workers would be another user, who may not read a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_AROUND.format(user=user, folder=folder, served=served))
    with (folder / "said").open("wb") as said:
        words = [binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
    try:
        _await(process, folder, port)
        yield
    finally:
        process.terminate()
        process.wait(15)


def _await(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError((folder / "said").read_text())
