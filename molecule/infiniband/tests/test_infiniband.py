"""InfiniBand as GPUs need it: each file is read back by the program that reads it on a real node."""

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
PLAYED = "/srv/played"
NETWORKD = "/usr/lib/systemd/systemd-networkd"
DROP_IN = "/run/systemd/system/fleetward-acs.service.d/played.conf"

# NCCL reads its files at the first call that needs a setting; that without a GPU the call fails does not matter.
ASK_NCCL = """
import ctypes, json, sys
libc, nccl = ctypes.CDLL(None), ctypes.CDLL("/srv/usr/lib/x86_64-linux-gnu/libnccl.so.2")
libc.getenv.restype = ctypes.c_char_p
nccl.ncclGetUniqueId(ctypes.create_string_buffer(128))
found = {name: libc.getenv(name.encode()) for name in sys.argv[1:]}
print(json.dumps({name: value and value.decode() for name, value in found.items()}))
"""

# As setpci: registers are files, and what is asked is written down.
SETPCI = f"""#!/bin/sh
echo "$*" >> {PLAYED}/asked
file={PLAYED}/registers/$2
[ -e "$file" ] || {{ echo "setpci: $2: Capability ECAP_ACS not found" >&2; exit 1; }}
case $3 in
*=*:*)
    value=${{3#*=}} mask=${{3#*:}}
    printf '%04x\\n' $(( (0x$(cat $file) & ~0x$mask) | (0x${{value%:*}} & 0x$mask) )) > "$file.new"
    mv "$file.new" "$file" ;;
*) cat "$file" ;;
esac
"""

# A root port, a switch with two ports below it, a GPU and a network card below those; a drive below another port.
DEVICES = {
    "0000:00:01.0": ("0x8086", "0x060400"),
    "0000:00:01.0/0000:01:00.0": ("0x1000", "0x060400"),
    "0000:00:01.0/0000:01:00.0/0000:02:00.0": ("0x1000", "0x060400"),
    "0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0": ("0x10de", "0x030200"),
    "0000:00:01.0/0000:01:00.0/0000:02:01.0": ("0x1000", "0x060400"),
    "0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0": ("0x15b3", "0x020700"),
    "0000:00:02.0": ("0x8086", "0x060400"),
    "0000:00:02.0/0000:09:00.0": ("0x144d", "0x010802"),
}
BEFORE = {"0000:00:01.0": "001d", "0000:02:00.0": "001f", "0000:02:01.0": "0011", "0000:00:02.0": "001d"}


def provision(host: str, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the role once more on one host, with other variables."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LOOKUP_PLUGINS": str(ROOT / "playbooks/lookup_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    extra = f"--extra-vars={json.dumps(given)}"
    return subprocess.run(
        [
            *(str(program), f"--inventory={STATE}/inventory", f"--limit={host}"),
            *(str(ROOT / "molecule/infiniband/converge.yml"), *arguments, extra),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return in which words a run was refused."""
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def nccl(host: Host, *names: str, environment: str = "") -> dict[str, str | None]:
    """Return what NCCL has after it read its files."""
    said = host.check_output(f"{environment} python3 -c '{ASK_NCCL}' {' '.join(names)}")
    # NCCL may speak last
    found: dict[str, str | None] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found


def test_the_tools_are_there(on: On) -> None:
    for ask, answer in {
        "ibstat --version": "ibstat BUILD VERSION",
        "ib_write_bw --version": "Version: ",
        "ibv_devinfo --help": "Usage: ibv_devinfo",
        "setpci --version": "setpci version",
    }.items():
        assert answer in on("gpu001").run(f"{ask} 2>&1 || true").stdout


def test_who_logs_in_may_lock_so_much_memory(on: On) -> None:
    # this is a session of sshd's, and su opens one as well
    host = on("gpu001")
    for ask in ("ulimit -S -l", "ulimit -H -l"):
        assert host.check_output(ask) == "4096"
        assert host.check_output(f"su --login researcher --command '{ask}'") == "4096"


def test_a_limit_that_the_kernel_refuses_keeps_nobody_from_logging_in(on: On) -> None:
    host = on("gpu002")
    allowed = host.run("prlimit --memlock=unlimited:unlimited true").rc == 0
    found = host.check_output("su --login researcher --command 'ulimit -l'")
    assert (found == "unlimited") is allowed
    assert host.file("/etc/security/limits.d/fleetward-infiniband.conf").exists is allowed


@pytest.fixture
def slurmd(on: On) -> Iterator[Host]:
    """Have a slurmd whose own unit says less, and which says what it got."""
    host = on("gpu001")
    unit = "/run/systemd/system/slurmd.service"
    text = '[Service]\\nType=oneshot\\nLimitMEMLOCK=1M\\nExecStart=/bin/sh -c "ulimit -l > /run/slurmd-memlock"\\n'
    host.check_output(f"mkdir -p /run/systemd/system && printf '{text}' > {unit} && systemctl daemon-reload")
    yield host
    host.check_output(f"rm -f {unit} /run/slurmd-memlock && systemctl daemon-reload")


def test_slurmd_and_with_it_jobs_may_lock_so_much_memory(slurmd: Host) -> None:
    slurmd.check_output("systemctl start slurmd")
    assert slurmd.file("/run/slurmd-memlock").content_string.strip() == "4096"


def test_modprobe_reads_the_options(on: On) -> None:
    assert "options mlx5_core prof_sel=2" in on("gpu001").check_output("modprobe --showconfig").splitlines()


def test_peer_memory_is_the_module_where_the_drivers_are_proprietary_and_dma_buf_where_they_are_open(on: On) -> None:
    ask = "SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=debug /usr/lib/systemd/systemd-modules-load 2>&1"
    assert "peermem" in on("gpu002").run(ask).stdout
    assert "peermem" not in on("gpu001").run(ask).stdout


def test_networkd_reads_the_interface_without_a_word(on: On) -> None:
    host = on("gpu001")
    file = host.check_output("ls /etc/systemd/network/60-fleetward-ipoib-*.network")
    host.run("systemd-tmpfiles --create --prefix=/run/systemd/netif")
    debug = "SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console"
    wrong = "/run/systemd/network/61-wrong.network"
    host.check_output(f"mkdir -p /run/systemd/network && sed 's/^Address=.*/Address=played/' {file} > {wrong}")
    try:
        said = host.run(f"runuser -u systemd-network -- env {debug} timeout 5 {NETWORKD} 2>&1").stdout
    finally:
        host.check_output(f"rm {wrong}")
    told = [line for line in said.splitlines() if "fleetward-ipoib" in line or "61-wrong" in line]
    assert any("61-wrong" in line and "played" in line for line in told), said
    assert [line for line in told if "fleetward-ipoib" in line] == [f"{file}: Successfully loaded."]


def test_udev_sets_the_mode_of_the_interface(on: On) -> None:
    rules = "/etc/udev/rules.d/60-fleetward-ipoib.rules"
    assert "Success: 1" in on("gpu001").check_output(f"udevadm verify {rules} 2>&1")
    assert 'KERNEL=="ib0", ATTR{mode}="connected"' in on("gpu001").file(rules).content_string


def test_networkd_leaves_alone_what_others_set_up(on: On) -> None:
    said = on("gpu001").check_output("systemd-analyze cat-config systemd/networkd.conf")
    lines = [line for line in said.splitlines() if line.startswith("ManageForeign")]
    assert lines == ["ManageForeignRoutes=no", "ManageForeignRoutingPolicyRules=no"]
    assert on("gpu001").service("systemd-networkd").is_enabled
    assert not on("gpu001").service("systemd-networkd-wait-online").is_enabled


def test_opensm_reads_its_settings(on: On) -> None:
    host = on("gpu001")
    host.run("opensm --config /etc/opensm/opensm.conf --create-config /run/opensm.conf")
    said = host.file("/run/opensm.conf").content_string.splitlines()
    settings = dict(line.partition(" ")[::2] for line in said)
    assert settings["sm_priority"] == "14"
    assert settings["routing_engine"] == "ftree,updn"
    assert settings["honor_guid2lid_file"] == "TRUE"


def test_the_subnet_manager_runs_where_the_group_says_so_alone(on: On) -> None:
    assert on("gpu001").service("opensm").is_enabled
    assert not on("gpu002").package("opensm").is_installed


def test_nccl_gets_the_settings_of_the_profile(on: On) -> None:
    assert nccl(on("gpu001"), "NCCL_DEBUG", "NCCL_IB_HCA", "NCCL_IB_QPS_PER_CONNECTION") == {
        "NCCL_DEBUG": "WARN",
        "NCCL_IB_HCA": "=mlx5_0,mlx5_1,mlx5_2,mlx5_3",
        "NCCL_IB_QPS_PER_CONNECTION": "4",
    }


def test_what_others_wrote_for_nccl_stays_and_a_job_has_the_last_word(on: On) -> None:
    assert nccl(on("gpu001"), "NCCL_SOCKET_IFNAME") == {"NCCL_SOCKET_IFNAME": "eth0"}
    assert nccl(on("gpu001"), "NCCL_DEBUG", environment="NCCL_DEBUG=VERSION") == {"NCCL_DEBUG": "VERSION"}


def test_in_a_container_acs_is_left_alone(on: On) -> None:
    host = on("gpu001")
    host.check_output("systemctl start fleetward-acs")
    said = host.check_output("systemctl show --property=ActiveState,ConditionResult fleetward-acs")
    assert sorted(said.split()) == ["ActiveState=inactive", "ConditionResult=no"]
    assert host.service("fleetward-acs").is_enabled
    assert not on("gpu002").file("/etc/systemd/system/fleetward-acs.service").exists


def test_systemd_finds_nothing_wrong_in_the_units(on: On) -> None:
    done = on("gpu001").run("systemd-analyze verify fleetward-acs.service")
    assert done.rc == 0
    assert "fleetward" not in done.stderr


@pytest.fixture
def bridges(on: On) -> Iterator[Host]:
    """Have bridges that are played, and the unit ask those."""
    host = on("gpu001")
    host.check_output(f"mkdir -p {PLAYED}/registers {PLAYED}/bus {DROP_IN.rpartition('/')[0]}")
    for path, (vendor, device_class) in DEVICES.items():
        folder = f"{PLAYED}/devices/{path}"
        host.check_output(
            f"mkdir -p {folder} && echo {vendor} > {folder}/vendor && echo {device_class} > {folder}/class"
        )
        host.check_output(f"ln -sfn {folder} {PLAYED}/bus/{path.rpartition('/')[2]}")
    for address, value in BEFORE.items():
        host.check_output(f"echo {value} > {PLAYED}/registers/{address}")
    host.check_output(f"cat > {PLAYED}/setpci <<'END'\n{SETPCI}END\nchmod 755 {PLAYED}/setpci")
    drop_in = (
        "[Unit]\nConditionVirtualization=\n[Service]\n"
        f"Environment=PATH={PLAYED}:/usr/sbin:/usr/bin FLEETWARD_PCI_DEVICES={PLAYED}/bus\nReadWritePaths={PLAYED}\n"
    )
    host.check_output(f"cat > {DROP_IN} <<'END'\n{drop_in}END\nsystemctl daemon-reload")
    yield host
    host.run("systemctl stop fleetward-acs")
    host.check_output(f"rm -r {PLAYED} {DROP_IN} && systemctl daemon-reload")


def registers(host: Host) -> dict[str, str]:
    said = host.check_output(f"cd {PLAYED}/registers && grep -H . *")
    return dict(line.rsplit(":", 1) for line in said.splitlines())


def test_bridges_above_gpus_and_network_cards_no_longer_redirect_until_the_unit_is_stopped(bridges: Host) -> None:
    bridges.check_output("systemctl start fleetward-acs")
    assert registers(bridges) == {**BEFORE, "0000:00:01.0": "0011", "0000:02:00.0": "0013"}
    asked = bridges.file(f"{PLAYED}/asked").content_string.splitlines()
    assert [line for line in asked if "=" in line] == [
        "-s 0000:00:01.0 ECAP_ACS+6.w=0000:000c",
        "-s 0000:02:00.0 ECAP_ACS+6.w=0000:000c",
    ]
    bridges.check_output("systemctl stop fleetward-acs")
    assert registers(bridges) == BEFORE


def test_doca_comes_from_the_sites_repository_in_the_version_that_was_asked_for(on: On) -> None:
    found = on("gpu002").check_output("dpkg-query --show --showformat='${Version}' doca-ofed")
    assert found == "2.9.1-0.1.4"
    assert not on("gpu001").file("/etc/apt/sources.list.d/fleetward-doca.sources").exists


def test_another_key_than_the_one_that_is_meant_is_refused(on: On) -> None:
    fingerprint = "0" * 40
    said = refusal(provision("gpu002", infiniband_doca_repository_key_fingerprint=fingerprint))
    assert fingerprint in said
    assert "compare its fingerprint with what NVIDIA publishes" in said


def test_dma_buf_with_proprietary_modules_is_refused() -> None:
    said = refusal(provision("gpu002", infiniband_peer_memory="dmabuf"))
    assert "dmabuf takes the open modules of branch 515 or later" in said


def test_what_is_no_longer_asked_for_is_taken_back(on: On) -> None:
    host = on("gpu001")
    without: dict[str, object] = {"infiniband_nccl": {}, "infiniband_nccl_extra": {}, "infiniband_module_options": {}}
    without |= {"infiniband_ipoib_interfaces": [], "infiniband_bare_metal": False}
    try:
        done = provision("gpu001", **without)  # type: ignore[arg-type]  # as JSON, which has more than text
        assert done.returncode == 0, done.stdout
        assert nccl(host, "NCCL_IB_HCA", "NCCL_DEBUG") == {"NCCL_IB_HCA": None, "NCCL_DEBUG": "TRACE"}
        assert "prof_sel" not in host.check_output("modprobe --showconfig")
        assert not host.file("/etc/udev/rules.d/60-fleetward-ipoib.rules").exists
        assert host.run("ls /etc/systemd/network/60-fleetward-ipoib-*").rc != 0
        assert host.run("systemctl cat fleetward-acs").rc != 0
    finally:
        done = provision("gpu001")
        assert done.returncode == 0, done.stdout
