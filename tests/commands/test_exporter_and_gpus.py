"""`fleetward exporter` and `fleetward gpus` where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where an unusable libnvidia-ml.so.1 hides one that the machine may have."""
    (folder / "libnvidia-ml.so.1").write_text("no library")
    return subprocess.run(
        [sys.executable, "-m", "fleetward", *arguments],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("arguments", [("gpus",), ("gpus", "--json"), ("exporter", "gpu")])
def test_without_nvml_it_says_what_to_do(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("fleetward: NVML does not answer")
    assert "install NVIDIA's driver" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [("--listen", "nowhere"), ("--interval", "0"), ("--interval", "soon")])
def test_wrong_options_are_refused_before_the_driver_is_asked(tmp_path: Path, options: tuple[str, str]) -> None:
    done = run(tmp_path, "exporter", "gpu", *options)
    assert done.returncode == 2
    assert "NVML" not in done.stderr


def test_the_exporter_imports_what_a_gpu_node_has_and_no_more() -> None:
    program = (
        "import sys, fleetward.commands.exporter, fleetward.commands.gpus;"
        "import fleetward.exporters.gpu.nvml, fleetward.exporters.gpu.server, fleetward.exporters.gpu.table;"
        "import fleetward.commands.release, fleetward.exporters.gpu.device_holders;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if not name.startswith(("_", "sitecustomize"))}
    assert ours == {"click", "fleetward", "pynvml"}
