"""Settings of kernel, disks and GPUs: read back by the programs that read them at a start, and taken back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

On = Callable[[str], Host]
ROOT = Path(__file__).parents[3]
STATE = Path(os.environ.get("FLEETWARD_LAB_STATE", "~/.local/state/fleetward/lab/molecule")).expanduser()
SYSCTL = "/etc/sysctl.d/90-fleetward-tuning.conf"
BUFFERS = "/proc/sys/net/ipv4/tcp_rmem"
PLAYED = "/srv/played"
DROP_IN = "/run/systemd/system/fleetward-gpu-tuning.service.d/played.conf"

# Writes down what it is asked, and refuses what stands in the file `refuses`.
NVIDIA_SMI = f"""#!/bin/sh
echo "$*" >> {PLAYED}/asked
case "$*" in
*--query-gpu=index,power.default_limit*) printf '0, 700.00\\n1, 690.00\\n' ;;
esac
! grep -q -x -F -e "$*" {PLAYED}/refuses
"""
SET = ["--power-limit=600", "--lock-gpu-clocks=1200,1980"]
RESET = [
    "--query-gpu=index,power.default_limit --format=csv,noheader,nounits",
    "--id=0 --power-limit=700.00",
    "--id=1 --power-limit=690.00",
    "--reset-gpu-clocks",
]


def provision(host: str, *arguments: str, **given: object) -> subprocess.CompletedProcess[str]:
    """Run the role once more on one host, with other variables."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [
            *(str(program), f"--inventory={STATE}/inventory", f"--limit={host}"),
            *(str(ROOT / "molecule/tuning/converge.yml"), *arguments, f"--extra-vars={json.dumps(given)}"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def words(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return what a run said, which ended with this code."""
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def buffers(host: Host) -> list[str]:
    return host.file(BUFFERS).content_string.split()


def test_sysctl_reads_the_settings(on: On) -> None:
    said = on("gpu001").check_output(f"sysctl --dry-run --load {SYSCTL}")
    assert said.splitlines() == [
        "kernel.numa_balancing = 0",
        "vm.stat_interval = 7",
        "net.ipv4.tcp_rmem = 4096 131072 25165824",
    ]


def test_the_kernel_has_what_is_the_containers_own_and_keeps_what_is_the_hosts(on: On) -> None:
    host = on("gpu001")
    assert buffers(host) == ["4096", "131072", "25165824"]
    assert host.file("/proc/sys/vm/stat_interval").content_string.strip() != "7"
    said = words(provision("gpu001"), 0)
    assert "/proc/sys/vm/stat_interval is the setting of the container's host" in said


def test_tmpfiles_would_write_memory_and_processors(on: On) -> None:
    said = on("gpu001").run(
        "SYSTEMD_LOG_LEVEL=debug systemd-tmpfiles --dry-run --create /etc/tmpfiles.d/fleetward-tuning.conf"
    )
    assert said.rc == 0, said.stderr
    for line in (
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
    ):
        assert line in said.stdout + said.stderr


def test_udev_finds_nothing_wrong_in_the_rules(on: On) -> None:
    host = on("gpu001")
    rules = "/etc/udev/rules.d/60-fleetward-tuning.rules"
    assert "Success: 1" in host.check_output(f"udevadm verify {rules} 2>&1")
    text = host.file(rules).content_string
    assert 'KERNEL=="nvme[0-9]*n[0-9]*", ATTR{queue/scheduler}="none", ATTR{queue/read_ahead_kb}="4096"' in text


def test_systemd_finds_nothing_wrong_in_the_units(on: On) -> None:
    done = on("gpu001").run("systemd-analyze verify fleetward-tuning.service fleetward-gpu-tuning.service")
    assert done.rc == 0
    assert "fleetward" not in done.stderr


@pytest.mark.parametrize("unit", ["fleetward-tuning", "fleetward-gpu-tuning"])
def test_the_units_come_with_the_host_and_do_nothing_in_a_container(on: On, unit: str) -> None:
    host = on("gpu001")
    host.check_output(f"systemctl start {unit}")
    said = host.check_output(f"systemctl show --property=ActiveState,ConditionResult {unit}")
    assert sorted(said.split()) == ["ActiveState=inactive", "ConditionResult=no"]
    assert host.service(unit).is_enabled


@pytest.fixture
def gpus(on: On) -> Iterator[Host]:
    """Have GPUs that are played, and the unit set those."""
    host = on("gpu001")
    host.check_output(f"mkdir -p {PLAYED} {DROP_IN.rpartition('/')[0]} && touch {PLAYED}/asked {PLAYED}/refuses")
    host.check_output(f"cat > {PLAYED}/nvidia-smi <<'END'\n{NVIDIA_SMI}END\nchmod 755 {PLAYED}/nvidia-smi")
    drop_in = (
        "[Unit]\nConditionPathExists=\nConditionVirtualization=\n[Service]\n"
        f"Environment=PATH={PLAYED}:/usr/sbin:/usr/bin\nReadWritePaths={PLAYED}\n"
    )
    host.check_output(f"cat > {DROP_IN} <<'END'\n{drop_in}END\nsystemctl daemon-reload")
    yield host
    host.run("systemctl stop fleetward-gpu-tuning")
    host.run("systemctl reset-failed fleetward-gpu-tuning")
    host.check_output(f"rm -r {PLAYED} {DROP_IN} && systemctl daemon-reload")


def asked(host: Host) -> list[str]:
    """Return what nvidia-smi was asked since this was last looked at."""
    said = host.file(f"{PLAYED}/asked").content_string.splitlines()
    host.check_output(f": > {PLAYED}/asked")
    return said


def test_gpus_get_limit_and_clocks_and_the_boards_own_when_the_unit_is_stopped(gpus: Host) -> None:
    gpus.check_output("systemctl start fleetward-gpu-tuning")
    assert asked(gpus) == SET
    gpus.check_output("systemctl stop fleetward-gpu-tuning")
    assert asked(gpus) == RESET


def test_where_one_setting_is_refused_none_stays(gpus: Host) -> None:
    gpus.check_output(f"echo {SET[1]} > {PLAYED}/refuses")
    assert gpus.run("systemctl start fleetward-gpu-tuning").rc != 0
    assert gpus.check_output("systemctl show --value --property=ActiveState fleetward-gpu-tuning") == "failed"
    assert asked(gpus) == [*SET, *RESET]


def test_a_setting_of_gpus_that_is_taken_out_is_taken_back(gpus: Host) -> None:
    gpus.check_output("systemctl start fleetward-gpu-tuning")
    assert asked(gpus) == SET
    words(provision("gpu001", tuning_gpus={"power_limit_watts": 600}), 0)
    assert asked(gpus) == [*RESET, SET[0]]
    words(provision("gpu001", tuning_gpus={}), 0)
    assert asked(gpus) == RESET[:-1]
    assert gpus.run("systemctl cat fleetward-gpu-tuning").rc != 0
    words(provision("gpu001"), 0)


def test_settings_of_the_kernel_that_are_taken_out_are_what_they_were(on: On) -> None:
    host = on("gpu001")
    try:
        words(provision("gpu001", tuning_network={"net.ipv4.tcp_rmem": "4096 131072 20971520"}), 0)
        assert buffers(host)[-1] == "20971520"
        words(provision("gpu001", tuning_network={}), 0)
        assert buffers(host) == buffers(on("head"))
        assert "tcp_rmem" not in host.check_output(f"sysctl --dry-run --load {SYSCTL}")
        assert "changed=0" in words(provision("gpu001", tuning_network={}), 0)
    finally:
        words(provision("gpu001"), 0)


def test_a_dry_run_tells_what_would_change_and_changes_nothing(on: On) -> None:
    before = buffers(on("gpu001"))
    said = words(
        provision("gpu001", "--check", "--diff", tuning_network={"net.ipv4.tcp_rmem": "4096 131072 20971520"}), 0
    )
    assert f"+{BUFFERS} 4096 131072 20971520" in said
    assert buffers(on("gpu001")) == before


def test_a_limit_above_the_boards_is_refused() -> None:
    said = words(provision("gpu001", tuning_gpus={"power_limit_watts": 800}), 2)
    assert "a power limit of 800 W, and the GPUs of its hardware profile take 700 W" in said
