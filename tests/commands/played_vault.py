"""A small HTTP server that answers as HashiCorp Vault does: the shapes of its API, not Vault itself.

Status codes and bodies are those that clients of Vault report of it: a path that is not there is 404 without errors, a
deleted version 404 with its metadata, a mount that is none 404 with `no handler for route`, a wrong token 403.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "hvs.played-token-5e1f"
ROLE_ID = "59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8"
SECRET_ID = "84896a0c-1347-aa90-a4f6-aca8b7558780"
SECRET = "s3cret-of-the-database"


@dataclass
class PlayedVault:
    """What it holds, and what it was asked."""

    secrets: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"secret/fleet/slurm": {"database_password": SECRET, "port": 3306}}
    )
    deleted: dict[str, bool] = field(default_factory=dict)
    """By path, whether the newest version was destroyed too."""
    forbidden: set[str] = field(default_factory=set)
    mounts: set[str] = field(default_factory=lambda: {"secret"})
    answers: tuple[int, bytes] | None = None
    """What it answers whatever it is asked."""
    leads_to: str = ""
    """The active node's address, where this is a standby."""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        words = path.removeprefix("/v1/").split("/")
        if method == "POST" and words[0] == "auth":
            return self.logged_in(words[1], json.loads(body))
        name = "/".join([words[0], *words[2:]])
        if headers.get("x-vault-token") != TOKEN or name in self.forbidden:
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        if words[0] not in self.mounts:
            return 404, {"errors": [f"no handler for route {'/'.join(words)!r}"]}
        if name in self.deleted:
            metadata = {"deletion_time": "2026-12-01T12:00:00Z", "destroyed": self.deleted[name], "version": 3}
            return 404, {"data": {"data": None, "metadata": metadata}}
        if name not in self.secrets or words[1] != "data":
            return 404, {"errors": []}
        metadata = {"deletion_time": "", "destroyed": False, "version": 3}
        return 200, {"request_id": "x", "data": {"data": self.secrets[name], "metadata": metadata}}

    @staticmethod
    def logged_in(mount: str, login: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if mount != "approle" or (login.get("role_id"), login.get("secret_id")) != (ROLE_ID, SECRET_ID):
            return 400, {"errors": ["invalid role or secret ID"]}
        return 200, {"auth": {"client_token": TOKEN, "lease_duration": 1200, "renewable": True}}


@contextmanager
def served(vault: PlayedVault, certificate: tuple[Path, Path] | None = None) -> Iterator[PlayedVault]:
    """Listen on a free port of this host while the block runs; over TLS with a certificate and its key."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            vault.asked.append((self.command, self.path, headers))
            if vault.leads_to:
                self.send_response(307)
                self.send_header("Location", vault.leads_to + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, text = vault.answers or self.told(vault.answer(self.command, self.path, headers, body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = handle_any

        @staticmethod
        def told(answer: tuple[int, dict[str, Any]]) -> tuple[int, bytes]:
            return answer[0], json.dumps(answer[1]).encode()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    vault.address = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    try:
        yield vault
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
