"""The library's own struct definitions against those of pynvml: a difference would be read as zeros, silently."""

import ctypes
import json
import re
import subprocess
from pathlib import Path

import pynvml
import pytest

import fleetward
from fleetward.lab import scenario

SOURCES = Path(fleetward.__file__).parent / "lab" / "nvml"
STRUCTS = {
    "nvmlPciInfo_t": pynvml.nvmlPciInfo_t,
    "nvmlUtilization_t": pynvml.c_nvmlUtilization_t,
    "nvmlMemory_t": pynvml.c_nvmlMemory_t,
    "nvmlMemory_v2_t": pynvml.c_nvmlMemory_v2_t,
    "nvmlTemperature_v1_t": pynvml.c_nvmlTemperature_v1_t,
    "nvmlProcessInfo_t": pynvml.c_nvmlProcessInfo_v3_t,
    "nvmlProcessUtilizationSample_t": pynvml.c_nvmlProcessUtilizationSample_t,
    "nvmlFieldValue_t": pynvml.c_nvmlFieldValue_t,
    "nvmlValue_t": pynvml.c_nvmlValue_t,
    "nvmlEventData_t": pynvml.c_nvmlEventData_t,
}


def layout(struct: type[ctypes.Structure]) -> dict[str, int]:
    offsets = {field[0]: getattr(struct, field[0]).offset for field in struct._fields_}
    return {"": ctypes.sizeof(struct), **offsets}


def test_every_struct_has_the_size_and_offsets_that_pynvml_reads(tmp_path: Path) -> None:
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("%s\\"{name}\\": {{\\"\\": %zu", "{"" if not lines else ", "}", sizeof({name}));')
        lines += [f'printf(", \\"{f[0]}\\": %zu", offsetof({name}, {f[0]}));' for f in struct._fields_]
        lines.append('printf("}");')
    program = '#include <stddef.h>\n#include <stdio.h>\n#include "abi.h"\nint main(void) { printf("{");'
    source = tmp_path / "layout.c"
    source.write_text(program + "\n".join(lines) + 'printf("}"); return 0; }')
    subprocess.run(["cc", f"-I{SOURCES}", source, "-o", tmp_path / "layout"], check=True)
    ours = json.loads(subprocess.run([tmp_path / "layout"], capture_output=True, check=True).stdout)
    assert ours == {name: layout(struct) for name, struct in STRUCTS.items()}


def test_return_codes_are_those_of_pynvml() -> None:
    ours = dict(re.findall(r"(NVML_(?:SUCCESS|ERROR_\w+)) = (\d+)", (SOURCES / "abi.h").read_text()))
    assert len(ours) > 20
    assert {name: int(code) for name, code in ours.items()} == {name: getattr(pynvml, name) for name in ours}


@pytest.mark.parametrize("kind", ["GPU_NUMBERS", "GPU_TEXTS", "DRIVER_NUMBERS", "DRIVER_TEXTS"])
def test_python_knows_the_same_keys_as_the_library(kind: str) -> None:
    table = re.search(rf"#define {kind}\(X\)(.*?)\n\n", (SOURCES / "keys.h").read_text(), re.DOTALL)
    assert table is not None
    assert set(re.findall(r'X\(\w+, "(\w+)"', table[1])) == getattr(scenario, kind)


def test_the_library_is_found_by_the_name_that_programs_ask_for(library: Path) -> None:
    dynamic = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    assert "Library soname: [libnvidia-ml.so.1]" in dynamic


def test_only_calls_of_nvml_are_exported(library: Path) -> None:
    shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in shown.splitlines()]
    assert len(names) > 60
    assert [name for name in names if not name.startswith("nvml")] == []
