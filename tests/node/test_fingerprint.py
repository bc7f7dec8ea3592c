"""What a node tells of its software and hardware for a certificate, and that the head reads it."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetward.exporters.gpu.readings import Census, GpuIdentity, GpuReading
from fleetward.node import fingerprint
from fleetward.node.fingerprint import read_parts
from fleetward.node.probes.gpus import Gpus
from fleetward.node.results import ProbeError
from fleetward.node.surroundings import Surroundings
from fleetward.operations.qualification.fingerprint import Fingerprint, HcaPart, differences, read_fingerprint

if TYPE_CHECKING:
    from conftest import NodeFiles
    from played_nvml import PlayedNode

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (a@b)\nGCC version: x\n"
PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"
TOOLKIT = {"cuda": {"name": "CUDA SDK", "version": "12.8.0"}}


@pytest.fixture
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests of files the processes that ask NVML."""
    monkeypatch.setattr(fingerprint, "read_gpus", lambda _: Gpus())


def whole(files: "NodeFiles") -> Fingerprint:
    texts = {
        "proc/sys/kernel/osrelease": "6.8.0-52-generic\n",
        "sys/module/nvidia/version": "565.57.01\n",
        "proc/driver/nvidia/version": OPEN,
        "usr/local/cuda/version.json": json.dumps(TOOLKIT),
        "usr/lib/x86_64-linux-gnu/libnccl.so.2": "",
        "usr/lib/x86_64-linux-gnu/libnccl.so.2.25.1": "",
        "sys/class/dmi/id/bios_vendor": "AMI\n",
        "sys/class/dmi/id/bios_version": "2.1\n",
        "sys/class/dmi/id/bios_date": "11/05/2025\n",
    }
    for name, text in texts.items():
        files.write(name, text)
    files.program("nv-fabricmanager", "printf '\\n\\nFabric Manager version is : 565.57.01\\n'")
    files.program("dcgmi", "printf '\\ndcgmi  version: 4.6.0\\n\\n'")
    files.program("ofed_info", "echo MLNX_OFED_LINUX-24.10-1.1.4.0:")
    return told(files)


def told(files: "NodeFiles") -> Fingerprint:
    return read_fingerprint(read_parts(Surroundings(files.root)).as_json())


@pytest.mark.usefixtures("no_gpus")
def test_every_part_that_files_and_programs_tell_is_read(node_files: "NodeFiles") -> None:
    assert whole(node_files) == Fingerprint(
        kernel="6.8.0-52-generic",
        driver="565.57.01",
        module_flavour="open",
        fabric_manager="565.57.01",
        cuda="12.8.0",
        nccl="2.25.1",
        ofed="MLNX_OFED_LINUX-24.10-1.1.4.0",
        bios="AMI 2.1 11/05/2025",
        dcgm="4.6.0",
        hcas=(HcaPart("mlx5_0", "28.39.1002"),),
        gpus=(),
    )


@pytest.mark.usefixtures("no_gpus")
def test_what_is_not_there_is_told_from_what_cannot_be_read(node_files: "NodeFiles") -> None:
    bare = told(node_files)
    assert bare.kernel is None  # there is a kernel, and its file is not there
    assert {bare.driver, bare.module_flavour, bare.fabric_manager, bare.cuda, bare.nccl, bare.dcgm, bare.bios} == {""}
    whole(node_files)
    node_files.program("dcgmi", "echo 'no host engine' >&2; exit 1")
    node_files.program("nv-fabricmanager", "echo something else")
    node_files.write("usr/local/cuda/version.json", "{")
    node_files.write("proc/driver/nvidia/version", "x\n")
    spoilt = told(node_files)
    assert (spoilt.dcgm, spoilt.fabric_manager, spoilt.cuda, spoilt.module_flavour) == (None, None, None, None)
    assert spoilt.unknown == ("cuda", "dcgm", "fabric_manager", "module_flavour")


@pytest.mark.usefixtures("no_gpus")
def test_the_proprietary_module_is_told_from_the_open_one(node_files: "NodeFiles") -> None:
    node_files.write("proc/driver/nvidia/version", PROPRIETARY)
    assert told(node_files).module_flavour == "proprietary"


@pytest.mark.usefixtures("no_gpus")
def test_the_module_stands_in_for_ofed_without_its_program(node_files: "NodeFiles") -> None:
    node_files.write("sys/module/mlx5_core/version", "24.10-1.1.4\n")
    assert told(node_files).ofed == "24.10-1.1.4"


@pytest.mark.usefixtures("no_gpus")
def test_letters_that_a_terminal_would_mind_are_taken_out(node_files: "NodeFiles") -> None:
    node_files.write("proc/sys/kernel/osrelease", "6.8\x1b[2J" + "x" * 500)
    kernel = told(node_files).kernel
    assert kernel is not None
    assert kernel.startswith("6.8 [2J")
    assert len(kernel) == 200


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=250)] * 3)
def test_whatever_stands_in_files_and_firmware_the_head_reads_what_is_told(
    node_files: "NodeFiles", monkeypatch: pytest.MonkeyPatch, kernel: str, firmware: str, serial: str
) -> None:
    identity = GpuIdentity(index=0, pci_bus_id="0000:1b:00.0", serial=serial, uuid=firmware)
    found = Gpus(Census(count=1), (GpuReading(identity, None),))
    monkeypatch.setattr(fingerprint, "read_gpus", lambda _: found)
    node_files.write("proc/sys/kernel/osrelease", kernel)
    node_files.write("sys/class/infiniband/mlx5_0/fw_ver", firmware)
    head = told(node_files)
    assert head.hcas is not None
    assert head.hcas[0].device == "mlx5_0"
    assert head.gpus is not None
    assert len(head.gpus) == 1


def test_gpus_that_nobody_can_ask_are_unknown(node_files: "NodeFiles", monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(_: Surroundings) -> Gpus:
        raise ProbeError("no answer within 2 s")

    monkeypatch.setattr(fingerprint, "read_gpus", hangs)
    assert told(node_files).gpus is None
    monkeypatch.setattr(fingerprint, "read_gpus", lambda _: Gpus(hung=(3,)))
    assert told(node_files).gpus is None
    monkeypatch.setattr(fingerprint, "read_gpus", lambda _: Gpus(missing_library=True))
    assert told(node_files).gpus == ()


PROGRAM = """
import sys
from pathlib import Path
from fleetward.node.fingerprint import FINGERPRINT
from fleetward.node.run_checks import read_probes
from fleetward.node.surroundings import Surroundings
(parts,) = read_probes([FINGERPRINT], Surroundings(Path(sys.argv[1]))).values()
print(parts.as_json())
"""


def test_gpus_are_told_as_a_probe_like_the_others(played: "PlayedNode", node_files: "NodeFiles") -> None:
    def run() -> Fingerprint:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(node_files.root)],
            env=played.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return read_fingerprint(done.stdout)

    node_files.write("sys/module/nvidia/version", "570.133.20\n")
    before = run()
    assert before.gpus is not None
    assert len(before.gpus) == 8
    assert all(one.slot and one.uuid and one.serial and one.vbios for one in before.gpus)
    assert before.driver
    played.play("gpu.3.uuid=GPU-00000000-0000-0000-0000-0000000000ff\ngpu.3.serial=99\n")
    (change,) = differences(before, run())
    assert change.words.startswith(f"the GPU in slot {before.gpus[3].slot} was replaced: ")
    played.play("gpu.3.lost=1\n")
    assert [one.words for one in differences(before, run())] == ["GPUs cannot be read now"]
    (node_files.root / "sys/module/nvidia/version").unlink()
    assert run().driver is None
    played.play("")
    assert run().driver == "570.133.20"
