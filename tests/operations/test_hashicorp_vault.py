"""Secrets of a Vault that is played by a small HTTP server: what comes back, what is said, and what never is."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import Authority
from hypothesis import given
from hypothesis import strategies as st
from played_vault import ROLE_ID, SECRET, SECRET_ID, TOKEN, PlayedVault, served

from fleetward.model.errors import ExitCode, FleetwardError
from fleetward.operations.hashicorp_vault import Connection, SecretError, VaultOutOfReachError, read


@pytest.fixture
def vault() -> Iterator[PlayedVault]:
    with served(PlayedVault()) as vault:
        yield vault


@pytest.fixture
def connection(vault: PlayedVault, tmp_path: Path) -> Connection:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return Connection(vault.address, token_file=str(tmp_path / "token"), seconds=5)


@pytest.fixture
def by_role(vault: PlayedVault, tmp_path: Path) -> Connection:
    (tmp_path / "role").write_text(f"{ROLE_ID}\n")
    (tmp_path / "secret").write_text(f"{SECRET_ID}\n")
    return Connection(
        vault.address,
        token_file="/nowhere",
        role_id_file=str(tmp_path / "role"),
        secret_id_file=str(tmp_path / "secret"),
        seconds=5,
    )


def test_a_key_is_read_with_the_token_of_a_file(vault: PlayedVault, connection: Connection) -> None:
    assert read(replace(connection, namespace="hpc"), "secret", "fleet/slurm", "database_password") == SECRET
    [(method, path, headers)] = vault.asked
    assert (method, path) == ("GET", "/v1/secret/data/fleet/slurm")
    sent = {name: value for name, value in headers.items() if name.startswith("x-vault-")}
    assert sent == {"x-vault-token": TOKEN, "x-vault-request": "true", "x-vault-namespace": "hpc"}


def test_without_a_key_the_whole_map_is_there_with_its_types(connection: Connection) -> None:
    assert read(connection, "secret", "/fleet/slurm/") == {"database_password": SECRET, "port": 3306}


def test_an_approle_logs_in_once_for_all_secrets_of_a_process(vault: PlayedVault, by_role: Connection) -> None:
    vault.secrets["secret/other"] = {"x": "y"}
    assert read(by_role, "secret", "fleet/slurm", "database_password") == SECRET
    assert read(by_role, "secret", "fleet/slurm", "port") == 3306
    assert read(by_role, "secret", "other", "x") == "y"
    assert [(method, path) for method, path, _ in vault.asked] == [
        ("POST", "/v1/auth/approle/login"),
        ("GET", "/v1/secret/data/fleet/slurm"),
        ("GET", "/v1/secret/data/other"),
    ]
    assert "x-vault-token" not in vault.asked[0][2]


def test_names_are_quoted_on_the_way(vault: PlayedVault, connection: Connection) -> None:
    with pytest.raises(SecretError):
        read(connection, "secret", "what?list=true#x")
    assert vault.asked[0][1] == "/v1/secret/data/what%3Flist%3Dtrue%23x"


def refused(connection: Connection, path: str = "fleet/slurm", key: str | None = None, mount: str = "secret") -> str:
    """Return what is said; no message has a secret in it."""
    with pytest.raises(FleetwardError) as caught:
        read(connection, mount, path, key)
    said = str(caught.value)
    assert not [secret for secret in (TOKEN, SECRET, SECRET_ID, ROLE_ID) if secret in said]
    assert caught.value.__cause__ is None or isinstance(caught.value, SecretError)
    assert caught.value.exit_code in {ExitCode.USAGE, ExitCode.OUT_OF_REACH, ExitCode.FAILED}
    return said


class TestWhatIsNotThere:
    def test_a_missing_key_is_told_with_those_that_are_there(self, connection: Connection) -> None:
        said = refused(connection, key="password")
        assert said == (
            "secret/fleet/slurm in Vault has no key 'password', it has: database_password, port: correct the key"
        )

    def test_a_missing_secret(self, connection: Connection) -> None:
        assert refused(connection, "fleet/slrm").startswith("Vault has no secret secret/fleet/slrm: correct the path")

    @pytest.mark.parametrize(("destroyed", "became"), [(False, "deleted"), (True, "destroyed")])
    def test_a_deleted_version(self, vault: PlayedVault, connection: Connection, destroyed: bool, became: str) -> None:
        vault.deleted["secret/fleet/slurm"] = destroyed
        assert f"the newest version of secret/fleet/slurm in Vault was {became}" in refused(connection)

    def test_a_mount_that_is_none(self, connection: Connection) -> None:
        assert refused(connection, mount="kv") == (
            "Vault has no engine mounted at kv: correct the mount (hashicorp_vault_mount)"
        )

    def test_what_is_no_secret_of_version_2(self, vault: PlayedVault, connection: Connection) -> None:
        vault.answers = (200, b'{"data": {"database_password": "x"}}')
        assert "is no secret of KV version 2: is the engine at secret one?" in refused(connection)


class TestWhoMayNot:
    def test_a_forbidden_path_names_the_policy_that_it_takes(self, vault: PlayedVault, connection: Connection) -> None:
        vault.forbidden.add("secret/fleet/slurm")
        said = refused(connection)
        whose = f"the token of {connection.token_file}"
        assert f"Vault forbids {whose} to read secret/fleet/slurm (permission denied)" in said
        assert "`read` on secret/data/fleet/slurm" in said

    def test_a_wrong_token(self, connection: Connection) -> None:
        Path(connection.token_file).write_text("hvs.another\n")
        assert "permission denied" in refused(connection)

    def test_a_wrong_secret_id(self, by_role: Connection) -> None:
        Path(by_role.secret_id_file).write_text("another\n")
        said = refused(by_role)
        assert f"Vault does not let the AppRole of {by_role.role_id_file} in (invalid role or secret ID)" in said
        assert "another" not in said

    @pytest.mark.parametrize("content", ["", " \n", "two words", "two\nlines", "\x00", "tök", b"\xff\xfe"])
    def test_a_file_that_holds_no_token(self, connection: Connection, content: str | bytes) -> None:
        Path(connection.token_file).write_bytes(content if isinstance(content, bytes) else content.encode())
        said = refused(connection)
        assert said.startswith(f"{connection.token_file} holds no credential of Vault")

    def test_a_file_that_is_not_there(self, connection: Connection, vault: PlayedVault) -> None:
        said = refused(replace(connection, token_file="/nowhere"))
        assert said == (
            "/nowhere cannot be read (No such file or directory): name a file that can with "
            "hashicorp_vault_token_file or hashicorp_vault_role_id_file"
        )
        assert vault.asked == []


class TestWhatDoesNotAnswer:
    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (503, b'{"errors":["Vault is sealed"]}', "is sealed, or not ready (Vault is sealed): unseal it"),
            (501, b'{"errors":[]}', "is not initialised"),
            (429, b'{"errors":["request path: quota exceeded"]}', "is asked too often (request path: quota exceeded)"),
            (500, b"<html>", "did not read secret/fleet/slurm: status 500"),
            (200, b"<html>", "cannot be reached: what answers there is no Vault"),
            (200, b"[" * 100_000, "what answers there is no Vault"),
            (200, b'"' + b"x" * 5_000_000 + b'"', "it answers with more than a secret can be"),
            (502, b'{"errors":["a\\u001b[2Jb"]}', "status 502 a?[2Jb"),
        ],
    )
    def test_it_is_told(self, vault: PlayedVault, connection: Connection, status: int, body: bytes, said: str) -> None:
        vault.answers = (status, body)
        assert said in refused(connection)

    def test_nobody_listens(self, connection: Connection) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(VaultOutOfReachError, match=r"cannot be reached: .*refused.*: is it up") as caught:
            read(replace(connection, address=nobody), "secret", "x")
        assert caught.value.exit_code == ExitCode.OUT_OF_REACH

    def test_one_that_listens_and_says_nothing(self, connection: Connection) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(VaultOutOfReachError, match="timed out"):
                read(replace(connection, address=address, seconds=0.2), "secret", "x")

    def test_one_without_tls_where_tls_was_asked_for(self, vault: PlayedVault, connection: Connection) -> None:
        secure = replace(connection, address=vault.address.replace("http:", "https:"))
        with pytest.raises(VaultOutOfReachError, match="SSL"):
            read(secure, "secret", "x")

    def test_certificates_that_are_none(self, connection: Connection, tmp_path: Path) -> None:
        (tmp_path / "ca").write_text("none")
        assert "no certificates can be read from it" in refused(replace(connection, ca_file=str(tmp_path / "ca")))


class TestTls:
    @pytest.fixture
    def secure(self, tmp_path: Path) -> Iterator[PlayedVault]:
        self.authority = Authority(tmp_path, "authority")
        with served(PlayedVault(), self.authority.sign("vault", "127.0.0.1")) as vault:
            yield vault

    def test_a_certificate_that_the_named_authority_signed_is_taken(
        self, secure: PlayedVault, connection: Connection
    ) -> None:
        trusting = replace(connection, address=secure.address, ca_file=str(self.authority.file))
        assert read(trusting, "secret", "fleet/slurm", "port") == 3306

    def test_another_gets_no_token(self, secure: PlayedVault, connection: Connection, tmp_path: Path) -> None:
        stranger = Authority(tmp_path, "stranger").file
        for ca_file in ("", str(stranger)):
            assert "certificate verify failed" in refused(replace(connection, address=secure.address, ca_file=ca_file))
        assert secure.asked == []

    def test_it_leads_to_nobody_without_tls(
        self, secure: PlayedVault, vault: PlayedVault, connection: Connection
    ) -> None:
        secure.leads_to = vault.address
        trusting = replace(connection, address=secure.address, ca_file=str(self.authority.file))
        assert "it leads on to an address without TLS" in refused(trusting)
        assert vault.asked == []


class TestStandby:
    def test_it_leads_to_the_active_node(self, vault: PlayedVault, connection: Connection) -> None:
        with served(PlayedVault(leads_to=vault.address)) as standby:
            there = replace(connection, address=standby.address)
            assert read(there, "secret", "fleet/slurm", "port") == 3306

    def test_it_leads_nowhere_in_the_clear(self, vault: PlayedVault, connection: Connection) -> None:
        vault.leads_to = "http://vault.example.org:8200"
        assert "in the clear" in refused(connection)

    def test_it_leads_in_circles_once(self, vault: PlayedVault, connection: Connection) -> None:
        vault.leads_to = vault.address
        assert "status 307" in refused(connection)
        assert len(vault.asked) == 2


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "set hashicorp_vault_address, or VAULT_ADDR"),
        ("vault.example.org:8200", "is no web address"),
        ("https://", "is no web address"),
        ("https://me:password@vault.example.org", "is no web address"),
        ("https://vault.example.org:99999", "is no web address"),
        ("http://vault.example.org:8200", "in the clear"),
        ("http://127.0.0.1.example.org", "in the clear"),
        ("http://192.0.2.1:8200", "in the clear"),
    ],
)
def test_an_address_that_cannot_be_is_refused_before_anything_is_sent(address: str, said: str) -> None:
    message = refused(Connection(address, token_file="/nowhere"))
    assert said in message
    assert "password" not in message


@given(st.text(max_size=20))
def test_a_path_never_leaves_its_mount(path: str) -> None:
    parts = path.strip("/").split("/")
    if any(part in {"", ".", ".."} for part in parts) or not path.isprintable():
        with pytest.raises(SecretError, match="cannot be a path in Vault"):
            read(Connection("https://vault.example.org", token_file="/nowhere"), "secret", path)
