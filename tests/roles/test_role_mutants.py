"""A role with the one line changed that matters still converges, and it is its verify test that tells."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.verify, pytest.mark.checkout]

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Mutant:
    """One line of a role, what stands there instead, and the verify test that has to fail."""

    role: str
    file: str
    line: str
    instead: str
    noticed_by: str


MUTANTS = (
    Mutant(
        "common",
        "tasks/configure.yml",
        "    block: \"{{ lookup('fleet', 'hosts') }}\"\n",
        '    block: "# nobody"\n',
        "test_every_host_finds_every_other_by_name",
    ),
    Mutant(
        "munge",
        "tasks/configure.yml",
        '    content: "{{ __munge_key.content | b64decode }}"\n',
        "    content: \"{{ inventory_hostname ~ 'a key of its own' * 16 }}\"\n",
        "test_a_credential_of_one_host_is_accepted_on_the_other",
    ),
    Mutant(
        "mariadb",
        "templates/fleetward.cnf.j2",
        "innodb_lock_wait_timeout = {{ mariadb_innodb_lock_wait_timeout }}\n",
        "",
        "test_it_runs_with_what_accounting_wants[innodb_lock_wait_timeout]",
    ),
    Mutant(
        "slurm_database",
        "templates/database.sql.j2",
        " IDENTIFIED VIA unix_socket;\n",
        ";\n",
        "test_the_database_lets_in_its_user_by_the_socket_and_no_other",
    ),
    Mutant(
        "slurm_controller",
        "tasks/run.yml",
        "  when: slurm_controller_accounting_managed and __slurm_controller_is_first\n",
        "  when: false\n",
        "test_accounts_users_and_qos_are_those_of_the_inventory",
    ),
    Mutant(
        "gpu_simulator",
        "templates/tmpfiles.conf.j2",
        "c {{ device }} 0666 root root - 1:3\n",
        "c {{ device }} 0600 root root - 1:3\n",
        "test_users_open_the_device_files_and_they_come_back_with_the_host",
    ),
    Mutant(
        "nvidia_driver",
        "tasks/install.yml",
        "['apt-mark', 'hold']",
        "['apt-mark', 'manual']",
        "test_the_holds_alone_keep_the_version",
    ),
    Mutant(
        "logging",
        "templates/receive.conf.j2",
        '    set $.fleetward_host = lookup("fleetward_hosts", $fromhost-ip);\n',
        "    set $.fleetward_host = $hostname;\n",
        "test_a_host_cannot_write_into_anothers_log",
    ),
    Mutant(
        "hardening",
        "templates/filter.nft.j2",
        "policy drop;",
        "policy accept;",
        "test_what_is_not_declared_gets_no_answer_and_what_is_does",
    ),
    Mutant(
        "storage",
        "vars/main.yml",
        "(['_netdev'] if needed else ['_netdev', 'nofail'])",
        "['_netdev']",
        "test_no_start_waits_for_a_mount_but_for_one_that_is_needed",
    ),
    Mutant(
        "mig",
        "templates/fleetward-mig.service.j2",
        " -cgi {{ instances }} -C",
        " -cgi {{ instances }}",
        "test_the_layout_comes_back_with_the_node_as_it_was_before_what_uses_the_gpus",
    ),
    Mutant(
        "dcgm",
        "templates/fleetward.conf.j2",
        "nvidia-dcgm {{ __dcgm_listens | join(' ') }}",
        "nvidia-dcgm -b ALL",
        "test_the_host_engine_answers_on_the_node_and_nowhere_else",
    ),
    Mutant(
        "nvidia_container_toolkit",
        "templates/fleetward-cdi.path.j2",
        "PathChanged=/lib/modules/%v/modules.dep\n",
        "",
        "test_it_is_made_anew_when_a_driver_is_installed",
    ),
    Mutant(
        "cuda",
        "tasks/preflight.yml",
        "    that: __cuda_broken | length == 0",
        "    that: true",
        "test_a_toolkit_that_the_driver_does_not_run_is_refused_before_anything",
    ),
    Mutant(
        "infiniband",
        "templates/slurmd.conf.j2",
        "LimitMEMLOCK=",
        "LimitMSGQUEUE=",
        "test_slurmd_and_with_it_jobs_may_lock_so_much_memory",
    ),
    Mutant(
        "tuning",
        "library/tuning_settings.py",
        "            outcome.before.setdefault(path, old)\n",
        "            outcome.before[path] = old\n",
        "test_settings_of_the_kernel_that_are_taken_out_are_what_they_were",
    ),
    Mutant(
        "kubernetes_node",
        "templates/containerd.toml.j2",
        'BinaryName = "/usr/bin/nvidia-container-runtime"\n',
        'BinaryName = "/usr/bin/runc"\n',
        "test_containerd_itself_says_that_it_has_systemds_control_groups_and_nvidias_handler",
    ),
    Mutant(
        "nvidia_device_plugin",
        "templates/daemon-set.yml.j2",
        "      runtimeClassName: nvidia\n",
        "",
        "test_the_cluster_has_namespace_runtime_class_and_the_plugin_of_the_profile",
    ),
    Mutant("slurm_node", "tasks/run.yml", "    enabled: true\n", "", "test_it_comes_back_with_the_host"),
    Mutant(
        "slurm_client",
        "tasks/configure.yml",
        '      export SINFO_FORMAT="${SINFO_FORMAT:-{{ slurm_client_sinfo_format }}}"\n',
        "",
        "test_who_logs_in_sees_gpus",
    ),
    Mutant(
        "fleetward",
        "tasks/install.yml",
        '    name: "fleetward[{{ fleetward_extra }}]==',
        '    name: "fleetward==',
        "test_the_head_gets_what_reads_specs_and_inventories",
    ),
    Mutant(
        "node_exporter",
        "tasks/configure.yml",
        "['--web.listen-address=' ~ __node_exporter_listen] + ",
        "",
        "test_it_listens_on_the_fleets_address_alone",
    ),
    Mutant(
        "node_health",
        "templates/tmpfiles.conf.j2",
        "d {{ __node_health_release_folder }} 0755 root root -\n",
        "d {{ __node_health_release_folder }} 0700 root root -\n",
        "test_what_root_asks_of_the_exporter_is_read_by_a_user_without_rights",
    ),
    Mutant(
        "gpu_exporter",
        "templates/fleetward-gpu-exporter.service.j2",
        "Restart=on-failure\n",
        "",
        "test_it_comes_back_when_it_is_killed",
    ),
    Mutant(
        "prometheus",
        "vars/main.yml",
        "__prometheus_jobs: [gpu, node, ",
        "__prometheus_jobs: [node, ",
        "test_a_gpu_exporter_that_does_not_answer_is_known_and_down",
    ),
    Mutant(
        "alertmanager",
        "templates/alertmanager.yml.j2",
        "alertname = Watchdog]",
        "alertname = Watchman]",
        "test_the_daemon_gets_an_alert_at_once_with_the_token_and_the_watchdog_not",
    ),
    Mutant(
        "slurm_exporter",
        "templates/fleetward-slurm-exporter.service.j2",
        "DynamicUser=yes\n",
        "",
        "test_it_has_no_rights_and_comes_back_with_the_host",
    ),
    Mutant(
        "postgresql",
        "templates/databases.sql.j2",
        "    WHERE has_database_privilege('public', '{{ database.name }}', 'CONNECT') \\gexec\n",
        "    WHERE false \\gexec\n",
        "test_a_role_of_the_server_that_is_not_the_owner_may_not_connect",
    ),
    Mutant(
        "fleetward_server",
        "tasks/run.yml",
        "      - adminlevel=Admin\n",
        "      - adminlevel=None\n",
        "test_slurm_lets_it_drain_and_resume",
    ),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the checkout, whose roles a test may spoil."""
    kept_out = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__")
    copy = shutil.copytree(ROOT, tmp_path / "checkout", symlinks=True, ignore=kept_out)
    # Molecule looks for the shared configuration at the top of a repository
    subprocess.run(["git", "init", "--quiet", str(copy)], check=True)
    return copy


@pytest.fixture
def molecule(checkout: Path, suite: str) -> Iterator[Callable[[str, str], subprocess.CompletedProcess[str]]]:
    """Return what runs a step of a role's scenario in the copy, on a lab that is taken down afterwards."""
    name = f"mutant-{os.getpid()}"
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "fleetward/lab" / name
    environment = {
        **os.environ,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "FLEETWARD_MOLECULE_LAB": name,
        "FLEETWARD_MOLECULE_SUITE": suite,
        "FLEETWARD_MOLECULE_BAKED": "yes",
        "FLEETWARD_LAB_STATE": str(state),
        # else it takes what another copy of the same name has left for a lab that is there
        "MOLECULE_EPHEMERAL_DIRECTORY": str(checkout.parent / "molecule"),
    }

    def step(words: str, role: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAMS / "molecule"), words, "--scenario-name", role],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    yield step
    down = subprocess.run([str(PROGRAMS / "fleetward"), "lab", "down", "--name", name], check=False)
    assert down.returncode == 0


def spoil(checkout: Path, mutant: Mutant) -> None:
    """Change the line; it has to be there exactly once, or the mutant is not the one that was meant."""
    file = checkout / "roles" / mutant.role / mutant.file
    text = file.read_text()
    assert text.count(mutant.line) == 1, f"{mutant.file} of the role {mutant.role} has changed: choose the line anew"
    file.write_text(text.replace(mutant.line, mutant.instead))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.role)
def test_a_spoilt_role_is_noticed_by_its_verify(
    mutant: Mutant, checkout: Path, molecule: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    spoil(checkout, mutant)
    converged = molecule("converge", mutant.role)
    assert converged.returncode == 0, (converged.stdout + converged.stderr)[-4000:]
    verified = molecule("verify", mutant.role)
    said = verified.stdout + verified.stderr
    assert verified.returncode != 0, "the spoilt role passed its own verify"
    # Molecule colours what pytest says, and breaks it into lines in a frame
    plain = re.sub(r"\x1b\[[0-9;]*m|[│\s]+", "", said)
    assert re.search(rf"FAILED[^:]*::{re.escape(mutant.noticed_by)}", plain), said[-4000:]
