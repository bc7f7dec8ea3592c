"""`fleetward provision` as a person runs it, Ansible played: what is refused, what is printed, what is on record."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from in_process import run_command

from fleetward.operations import provision_play
from fleetward.operations.playbook import PlaybookRun
from fleetward.operations.provision import default_inventory
from fleetward.operations.provision_play import PlayEnd

Run = Callable[..., subprocess.CompletedProcess[str]]


class PlayedAnsible:
    """Ends as it is told to, after the events of one task on one host."""

    def __init__(self) -> None:
        self.end = PlayEnd(0)
        self.runs: list[PlaybookRun] = []

    def play(self, wanted: PlaybookRun, see: Callable[[Mapping[str, Any]], object]) -> PlayEnd:
        self.runs.append(wanted)
        task = {"host": "gpu001", "role": "munge", "task": "Write the key"}
        see({"event": "playbook_on_task_start", "event_data": {"name": "munge : Write the key"}})
        see({"event": "runner_on_start", "event_data": task})
        if self.end.interrupted:
            return self.end
        if self.end.status:
            see({"event": "runner_on_failed", "event_data": {**task, "res": {"msg": "no \x1b[31mspace"}}})
            stats = {"failures": {"gpu001": 1}, "processed": {"gpu001": 1}}
        else:
            see({"event": "runner_on_ok", "event_data": {**task, "res": {"changed": True}}})
            stats = {"ok": {"gpu001": 7}, "changed": {"gpu001": 2}, "processed": {"gpu001": 1}}
        see({"event": "playbook_on_stats", "event_data": stats})
        return self.end


@pytest.fixture
def ansible(monkeypatch: pytest.MonkeyPatch) -> PlayedAnsible:
    played = PlayedAnsible()
    monkeypatch.setattr(provision_play, "play", played.play)
    return played


@pytest.fixture
def run(tmp_path: Path, ansible: PlayedAnsible) -> Run:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        return run_command(tmp_path, "provision", *arguments, **kept | variables)

    return run


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a copy of the lab's inventory."""
    shutil.copytree(default_inventory(), tmp_path / "site")
    return tmp_path / "site"


def test_each_host_is_counted_and_tasks_are_told_in_plain_lines(run: Run, ansible: PlayedAnsible) -> None:
    done = run()
    assert (done.returncode, done.stdout) == (0, "gpu001               ok=7 changed=2\n")
    assert [line[10:] for line in done.stderr.splitlines()] == [
        "ansible-playbook playbooks/site.yml",
        "  munge : Write the key",
    ]
    [wanted] = ansible.runs
    assert (wanted.limit, wanted.check, wanted.inventory) == (None, False, default_inventory())


def test_the_options_reach_ansible_with_the_hosts_that_list_every_node(run: Run, ansible: PlayedAnsible) -> None:
    done = run("--limit", "gpu001", "--tags", "munge", "--skip-tags", "x", "--check", "--json")
    [wanted] = ansible.runs
    assert (wanted.limit, wanted.tags, wanted.skip_tags, wanted.check) == ("gpu001,head", "munge", "x", True)
    assert "limited to gpu001,head" in done.stderr
    assert json.loads(done.stdout) == {
        "run": "p1",
        "state": "done",
        "changed": {"gpu001": 2},
        "ok": {"gpu001": 7},
        "failures": [],
    }


def test_what_failed_is_said_harmlessly_and_told_as_json_too(run: Run, ansible: PlayedAnsible) -> None:
    ansible.end = PlayEnd(2)
    done = run("--json")
    assert done.returncode == 1
    assert "fleetward: gpu001: Write the key: no \\x1b[31mspace; `fleetward provision show p1` has" in done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["failures"][0]["host"]) == ("failed", "gpu001")


def test_an_interrupted_run_says_so(run: Run, ansible: PlayedAnsible) -> None:
    ansible.end = PlayEnd(254, interrupted=True)
    done = run()
    assert (done.returncode, done.stdout) == (130, "")
    assert "interrupted; `fleetward provision show p1` says how far each host is" in done.stderr
    assert "munge" in done.stderr
    assert "gpu001  working" in run("show", "1").stdout


def test_history_has_the_newest_first(run: Run, ansible: PlayedAnsible) -> None:
    assert "no run is recorded here" in run("history").stderr
    run()
    ansible.end = PlayEnd(2)
    run("--limit", "gpu001", "--check")
    done = run("history")
    first, second, third = done.stdout.splitlines()
    assert first.split()[:3] == ["RUN", "STATE", "BEGAN"]
    assert (second.split()[:2], third.split()[:2]) == (["p2", "failed"], ["p1", "done"])
    assert "gpu001,head" in second
    runs = json.loads(run("history", "--limit", "1", "--json").stdout)["runs"]
    assert [(one["number"], one["check"]) for one in runs] == [(2, True)]


def test_show_has_who_on_what_each_host_and_what_failed(run: Run, ansible: PlayedAnsible) -> None:
    ansible.end = PlayEnd(2)
    run()
    done = run("show", "p1")
    assert done.stdout.startswith("p1\n  state      failed\n")
    assert f"  inventory  {default_inventory()}\n" in done.stdout
    assert "\ngpu001  failed  0   0        1       00:00:00\n" in done.stdout
    assert "\nFailures:\n  gpu001: Write the key: no \\x1b[31mspace\n" in done.stdout
    told = json.loads(run("show", "1", "--json").stdout)
    assert (told["state"], told["hosts"]["gpu001"]["failed"], told["failures"][0]["task"]) == (
        "failed",
        1,
        "Write the key",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "p9"], "there is no record p9"),
        (["show", "nine"], "nine is no run; write its number"),
        (["show", "0"], "0 is no run"),
        (["--limit", "gpu001", "history"], "--limit is for a run; write options of `history` behind its name"),
        (["--vault-password-file", "/nowhere"], "/nowhere: the vault password cannot be read"),
        (["-i", "/nowhere"], "there is no such inventory"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_run(
    arguments: list[str], said: str, run: Run, ansible: PlayedAnsible
) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, ansible.runs) == (2, "", [])
    assert said in done.stderr


def test_a_record_that_is_damaged_hides_no_other(run: Run, tmp_path: Path) -> None:
    run()
    run()
    (tmp_path / "state/fleetward/provision/p1.json").write_text("{")
    done = run("history")
    assert "p1.json: is no record of a run; remove it" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["RUN", "p2"]


def test_a_variable_that_nothing_knows_is_told_and_the_run_goes_on(
    run: Run, ansible: PlayedAnsible, site: Path
) -> None:
    (site / "group_vars/all/more.yml").write_text("prometheus_scrape_intervall: 5s\n")
    done = run("-i", str(site))
    assert (done.returncode, len(ansible.runs)) == (0, 1)
    assert (
        "fleetward: group_vars/all/more.yml: prometheus_scrape_intervall: the role prometheus has no such variable; "
        "did you mean prometheus_scrape_interval?\n" in done.stderr
    )


class TestAnsibleVault:
    @pytest.fixture
    def encrypted(self, site: Path) -> Path:
        # ansible-vault of ansible-core 2.19.14 wrote it, with the password `right`
        text = """\
$ANSIBLE_VAULT;1.1;AES256
63653066313166646163313531306134306163366138373538363164626663663731346235346161
3465656637346636613730663836306431333033356261370a656663316436333237333364343738
35646237663131346234333565656535336438633961626531373663336633316164396664346661
6231353431373534310a316632623039646266323437383463353336656563646231613164353131
3764
"""
        indented = "".join(f"  {line}\n" for line in text.splitlines())
        (site / "group_vars/all/secret.yml").write_text(f"slurm_database_password: !vault |\n{indented}")
        return site

    def test_a_wrong_password_is_refused_before_any_host_is_touched(
        self, run: Run, ansible: PlayedAnsible, encrypted: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "password").write_text("wr0ng-one\n")
        done = run("-i", str(encrypted), "--vault-password-file", str(tmp_path / "password"))
        assert (done.returncode, done.stdout, ansible.runs) == (2, "", [])
        assert done.stderr == (
            f"fleetward: the password of {tmp_path}/password does not open group_vars/all/secret.yml: "
            "slurm_database_password; nothing was touched: name another file, or encrypt that anew\n"
        )
        assert not (tmp_path / "state").exists()

    def test_without_a_password_it_says_where_to_name_one(
        self, run: Run, ansible: PlayedAnsible, encrypted: Path
    ) -> None:
        done = run("-i", str(encrypted))
        assert (done.returncode, ansible.runs) == (2, [])
        assert "name its file with --vault-password-file, or in the setting provision.vault_password_f" in done.stderr

    def test_the_setting_names_the_file_and_ansible_is_told_the_file_alone(
        self, run: Run, ansible: PlayedAnsible, encrypted: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "password").write_text("right\n")
        done = run("-i", str(encrypted), FLEETWARD_PROVISION_VAULT_PASSWORD_FILE=str(tmp_path / "password"))
        assert done.returncode == 0, done.stderr
        assert ansible.runs[0].environment == {"ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "password")}
        assert "right" not in (tmp_path / "state/fleetward/provision/p1.json").read_text()
