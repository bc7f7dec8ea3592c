"""The file of `--web-config`: what is taken, what is refused by name, and that promtool takes what is taken here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from certificates import Authority
from hypothesis import given
from hypothesis import strategies as st

from fleetward.exporters.web_config import Clients, TlsSettings, WebConfig, web_config
from fleetward.exporters.web_file import LARGEST_BYTES, read_document
from fleetward.model.errors import UsageError

FILE = Path("/etc/fleetward/web.yml")
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
PAIR = {"cert_file": "node.crt", "key_file": "/etc/ssl/private/node.key"}
CHECKED = {**PAIR, "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}


def tls(**settings: object) -> dict[str, object]:
    return {"tls_server_config": {**PAIR, **settings}}


def user(value: object, name: object = "prometheus") -> dict[str, object]:
    return {"basic_auth_users": {name: value}}


# client_allowed_sans is younger than the promtool of Debian 12
TAKEN: dict[str, object] = {
    "nothing": {},
    "a certificate": tls(),
    "empty sections": {"tls_server_config": {}, "http_server_config": {}, "basic_auth_users": {}},
    "sections without a value": {"tls_server_config": None, "http_server_config": None, "basic_auth_users": None},
    "clients are checked": {"tls_server_config": CHECKED},
    "clients are checked where they show one": tls(
        client_auth_type="VerifyClientCertIfGiven", client_ca_file="ca.pem", min_version="TLS13"
    ),
    "suites": tls(
        cipher_suites=["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"],
        prefer_server_cipher_suites=False,
        max_version="TLS12",
    ),
    "users": {"basic_auth_users": {"alice": HASH, "bob": HASH.replace("$2y$", "$2b$"), "zoé": HASH}},
    "headers": {
        "http_server_config": {
            "http2": False,
            "headers": {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=1", "X-XSS-Protection": ""},
        }
    },
}


@pytest.mark.parametrize("document", TAKEN.values(), ids=TAKEN)
def test_what_is_taken_here_promtool_takes_too(tmp_path: Path, document: object) -> None:
    authority = Authority(tmp_path, "ca")
    authority.sign("node")
    text = yaml.safe_dump(document, allow_unicode=True).replace("/etc/ssl/private/", "")
    file = tmp_path / "web.yml"
    file.write_text(text)
    web_config(read_document(file), file)
    promtool = shutil.which("promtool") or str(Path(sys.executable).with_name("promtool"))
    checked = subprocess.run([promtool, "check", "web-config", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_key_arrives_in_its_place() -> None:
    document = {
        "tls_server_config": {
            **CHECKED,
            "client_allowed_sans": ["prometheus", "10.0.0.1"],
            "min_version": "TLS13",
            "max_version": "TLS13",
            "cipher_suites": ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"],
            "prefer_server_cipher_suites": False,
        },
        "http_server_config": {"headers": {"X-Content-Type-Options": "nosniff"}},
        "basic_auth_users": {"prometheus": HASH},
    }
    assert web_config(document, FILE) == WebConfig(
        TlsSettings(
            cert_file=Path("/etc/fleetward/node.crt"),
            key_file=Path("/etc/ssl/private/node.key"),
            clients=Clients.CHECKED,
            client_ca_file=Path("/etc/fleetward/ca.pem"),
            client_names=("prometheus", "10.0.0.1"),
            min_version="TLS13",
            max_version="TLS13",
            ciphers=("ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA"),
            server_chooses=False,
        ),
        {b"prometheus": HASH.encode()},
        {"X-Content-Type-Options": "nosniff"},
    )


def test_what_is_not_said_is_as_the_toolkit_has_it() -> None:
    found = web_config(tls(), FILE).tls
    assert found is not None
    assert (found.clients, found.min_version, found.max_version) == (Clients.ANYBODY, "TLS12", "TLS13")
    assert found.server_chooses
    assert web_config(None, FILE) == WebConfig()


REFUSED: dict[str, tuple[object, str]] = {
    "no mapping": (["tls_server_config"], r"web\.yml: is \['tls_server_config'\]; write keys"),
    "a key that is none": ({"tls_config": {}}, "'tls_config' is no key; write one of tls_server_config"),
    "a rate limit": ({"rate_limit": {"interval": "1s"}}, "rate_limit is not supported here; leave it out"),
    "a certificate inline": (tls(cert="-----BEGIN"), "tls_server_config: cert is not supported here; .* cert_file"),
    "a key inline": (tls(key="-----BEGIN"), "key is not supported here; .* key_file"),
    "curves": (tls(curve_preferences=["X25519"]), "curve_preferences is not supported here"),
    "no key": ({"tls_server_config": {"cert_file": "a"}}, "key_file is missing"),
    "a number for a file": (tls(cert_file=7), "cert_file is 7; write a text"),
    "only a version": ({"tls_server_config": {"min_version": "TLS13"}}, "cert_file is missing"),
    "an old version": (tls(min_version="TLS10"), "min_version is 'TLS10'; write TLS12 or TLS13: older ones"),
    "versions the wrong way round": (tls(min_version="TLS13", max_version="TLS12"), "none above max_version"),
    "certificates that nobody checks": (tls(client_auth_type="RequireAnyClientCert"), "prove nothing"),
    "a list for a word": (tls(client_auth_type=["NoClientCert"]), "client_auth_type is"),
    "no authority": (tls(client_auth_type="RequireAndVerifyClientCert"), "needs client_ca_file"),
    "an authority that nobody asks": (tls(client_ca_file="ca.pem"), "asks no client for a certificate"),
    "names that nobody checks": (
        tls(client_auth_type="VerifyClientCertIfGiven", client_ca_file="a", client_allowed_sans=["b"]),
        "client_allowed_sans needs client_auth_type",
    ),
    "a suite that is none": (tls(cipher_suites=["TLS_RSA_WITH_RC4_128_SHA"]), "RC4.*; write some of TLS_ECDHE"),
    "suites of TLS 1.3 alone": (tls(cipher_suites=["TLS_AES_128_GCM_SHA256"]), "has none of TLS 1.2"),
    "a word for yes": (tls(prefer_server_cipher_suites="maybe"), "write true or false"),
    "users as a list": ({"basic_auth_users": ["prometheus"]}, "write a line USER: HASH"),
    "a number for a user": (user(HASH, 7), "7 is no user's name"),
    "a colon in a user": (user(HASH, "a:b"), "'a:b' is no user's name"),
    "a cost beyond reason": (user(HASH.replace("$10$", "$31$")), "prometheus: the hash has cost 31"),
    "a header of one's own": ({"http_server_config": {"headers": {"Server": "x"}}}, "'Server' is no key"),
    "a value that a header cannot have": (
        {"http_server_config": {"headers": {"X-Frame-Options": "always"}}},
        "write deny or sameorigin",
    ),
    "a header of two lines": (
        {"http_server_config": {"headers": {"X-XSS-Protection": "1\r\nSet-Cookie: a=b"}}},
        "on one line",
    ),
}


@pytest.mark.parametrize(("document", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_by_name(document: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        web_config(document, FILE)


@pytest.mark.parametrize("secret", ["swordfish", HASH[:-1], HASH.replace("$2y$", "$2x$"), HASH + "\n", 12345678])
def test_what_is_no_hash_is_refused_and_not_shown(secret: object) -> None:
    with pytest.raises(UsageError, match="prometheus: has no bcrypt hash") as refused:
        web_config(user(secret), FILE)
    assert str(secret) not in str(refused.value)


def test_hashes_are_not_shown_by_what_holds_them() -> None:
    assert HASH not in repr(web_config(user(HASH), FILE))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("tls_server_config", "basic_auth_users", "http_server_config", "headers", "cert_file"))
                | st.text(max_size=3),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_is_in_a_file_it_is_taken_or_refused_with_a_sentence(document: object) -> None:
    try:
        web_config(document, FILE)
    except UsageError as error:
        assert str(FILE) in str(error)


def without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)


def test_without_pyyaml_the_file_is_read_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_yaml(monkeypatch)
    file = tmp_path / "web.yml"
    file.write_text(json.dumps({"tls_server_config": CHECKED}))
    assert read_document(file) == {"tls_server_config": CHECKED}


def test_without_pyyaml_yaml_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_yaml(monkeypatch)
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {}\n")
    with pytest.raises(UsageError, match=r"no PyYAML.*: install PyYAML, or write the file as JSON"):
        read_document(file)


@pytest.mark.parametrize("json_only", [False, True])
@pytest.mark.parametrize(
    "content",
    [b'{"a": 1, "a": 2}', b"{", b"\xff\xfe\x00", b"[" * 100_000, b" " * (LARGEST_BYTES + 1)],
    ids=["a key twice", "half written", "no text", "nested for ever", "too large"],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, json_only: bool
) -> None:
    if json_only:
        without_yaml(monkeypatch)
    file = tmp_path / "web.yml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"web\.yml"):
        read_document(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_document(tmp_path / "web.yml")
    with pytest.raises(UsageError, match="no ordinary file"):
        read_document(tmp_path)
