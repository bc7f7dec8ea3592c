"""Settings: which one wins, where it came from, and what is refused."""

from pathlib import Path

import pytest

from fleetward.model.errors import UsageError
from fleetward.model.settings import Settings, read_settings

BY_NAME = ("daemon.socket", "daemon.listen", "guardrails.share", "runbooks.folders", "cluster.name")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "system.toml", tmp_path / "user.toml"


def source(settings: Settings, name: str) -> str:
    return next(one.source for one in settings.all() if one.name == name)


def test_every_setting_has_a_default_and_says_so() -> None:
    settings = read_settings({}, {}, ())
    assert settings.daemon.socket == "/run/fleetward/daemon/socket"
    assert (settings.guardrails.absolute, settings.guardrails.share) == (20, 0.1)
    assert {one.source for one in settings.all()} == {"default"}
    assert {one.name for one in settings.all()} >= set(BY_NAME)


def test_the_later_source_wins_and_is_named(files: tuple[Path, Path]) -> None:
    system, user = files
    system.write_text('[cluster]\nname = "a"\n[guardrails]\nabsolute = 3\n[daemon]\nsocket = "/a"\nlisten = "a:1"\n')
    user.write_text('[cluster]\nname = "b"\n[daemon]\nsocket = "/b"\nlisten = "b:1"\n')
    environment = {"FLEETWARD_CLUSTER_NAME": "c", "FLEETWARD_DAEMON_SOCKET": "/c", "HOME": "/nowhere"}
    settings = read_settings({"daemon.socket": "/d"}, environment, files)
    assert (settings.guardrails.absolute, source(settings, "guardrails.absolute")) == (3, str(system))
    assert (settings.daemon.listen, source(settings, "daemon.listen")) == ("b:1", str(user))
    assert (settings.cluster.name, source(settings, "cluster.name")) == ("c", "FLEETWARD_CLUSTER_NAME")
    assert (settings.daemon.socket, source(settings, "daemon.socket")) == ("/d", "option")


def test_variables_become_numbers_and_lists() -> None:
    environment = {
        "FLEETWARD_GUARDRAILS_ABSOLUTE": "7",
        "FLEETWARD_GUARDRAILS_SHARE": "0.25",
        "FLEETWARD_RUNBOOKS_FOLDERS": "/a:/b",
    }
    settings = read_settings({}, environment, ())
    assert (settings.guardrails.absolute, settings.guardrails.share) == (7, 0.25)
    assert settings.runbooks.folders == ("/a", "/b")


def test_the_users_file_is_below_the_config_home(tmp_path: Path) -> None:
    folder = tmp_path / "fleetward"
    folder.mkdir()
    (folder / "config.toml").write_text('[cluster]\nname = "mine"\n')
    assert read_settings({}, {"XDG_CONFIG_HOME": str(tmp_path)}).cluster.name == "mine"


def test_other_variables_of_ours_are_let_alone() -> None:
    assert read_settings({}, {"FLEETWARD_SLURM_BACKEND": "auto", "FLEETWARD_LAB_STATE": "/x"}, ()).sources == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[daemn]\n", "did you mean daemon?"),
        ("[daemon]\nsockt = '/x'\n", "did you mean daemon.socket?"),
        ("[daemon]\nsocket = 3\n", "daemon.socket"),
        ("[daemon]\nlisten = 'here'\n", "daemon.listen"),
        ("[daemon]\nprometheus_url = 'ftp://x'\n", "daemon.prometheus_url"),
        ("[guardrails]\nabsolute = 0\n", "guardrails.absolute"),
        ("[guardrails]\nabsolute = true\n", "guardrails.absolute"),
        ("[guardrails]\nshare = 1.5\n", "guardrails.share"),
        ("[runbooks]\nfolders = 'x'\n", "runbooks.folders"),
        ("daemon = 3\n", "daemon is no section"),
        ("[daemon\n", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name_key_and_reason(files: tuple[Path, Path], text: str, says: str) -> None:
    files[0].write_text(text)
    with pytest.raises(UsageError) as refused:
        read_settings({}, {}, files)
    assert says in str(refused.value)
    assert str(files[0]) in str(refused.value)


def test_a_wrong_value_is_refused_though_a_stronger_one_hides_it(files: tuple[Path, Path]) -> None:
    files[0].write_text("[guardrails]\nabsolute = -1\n")
    with pytest.raises(UsageError, match=r"guardrails\.absolute"):
        read_settings({"guardrails.absolute": 5}, {}, files)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("FLEETWARD_DAEMON_SOKET", "/x"),
        ("FLEETWARD_GUARDRAILS_ABSOLUTE", "many"),
        ("FLEETWARD_GUARDRAILS_SHARE", "nan"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(UsageError, match=variable):
        read_settings({}, {variable: text}, ())


def test_bytes_that_are_no_text_are_refused(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        read_settings({}, {}, files)


def test_a_secret_is_never_shown(files: tuple[Path, Path]) -> None:
    files[0].write_text('[daemon]\ndatabase_url = "postgresql://u:hunter2@h/d"\n')
    settings = read_settings({}, {}, files)
    assert settings.database() == "postgresql://u:hunter2@h/d"
    assert "hunter2" not in str(settings.all())
    files[0].write_text('[daemon]\ndatabase_url = ["hunter2"]\n')
    with pytest.raises(UsageError) as refused:
        read_settings({}, {}, files)
    assert "hunter2" not in str(refused.value)


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "url").write_text("postgresql:///x\n")
    names = {"daemon.webhook_token_file": str(tmp_path / "token"), "daemon.database_url_file": str(tmp_path / "url")}
    settings = read_settings(names, {}, ())
    assert (settings.webhook_token(), settings.database()) == ("abc", "postgresql:///x")
    gone = read_settings({"daemon.webhook_token_file": str(tmp_path / "gone")}, {}, ())
    with pytest.raises(UsageError, match="gone cannot be read"):
        gone.webhook_token()
