"""The library's own struct definitions against those of pynvml: a difference would be read as zeros, silently."""

import ctypes
import json
import re
import subprocess
from pathlib import Path

import pynvml
import pytest

import fleetward
from fleetward.lab.scenario_keys import MAX_GPUS, MAX_LINKS, keys

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
    "nvmlBAR1Memory_t": pynvml.c_nvmlBAR1Memory_t,
    "nvmlPciInfoExt_t": pynvml.nvmlPciInfoExt_v1_t,
    "nvmlProcessUtilizationInfo_t": pynvml.c_nvmlProcessUtilizationInfo_v1_t,
    "nvmlProcessesUtilizationInfo_t": pynvml.c_nvmlProcessesUtilizationInfo_v1_t,
    "nvmlDeviceAttributes_t": pynvml.c_nvmlDeviceAttributes,
    "nvmlGpuDynamicPstatesInfo_t": pynvml.c_nvmlGpuDynamicPstatesInfo_t,
    "nvmlMarginTemperature_v1_t": pynvml.c_nvmlMarginTemperature_v1_t,
    "nvmlGpuThermalSensor_t": pynvml.c_nvmlGpuThermalSensor_t,
    "nvmlGpuThermalSettings_t": pynvml.c_nvmlGpuThermalSettings_t,
    "nvmlViolationTime_t": pynvml.c_nvmlViolationTime_t,
    "nvmlRowRemapperHistogramValues_t": pynvml.c_nvmlRowRemapperHistogramValues,
    "nvmlEccSramErrorStatus_t": pynvml.c_nvmlEccSramErrorStatus_v1_t,
    "nvmlGpuFabricInfo_t": pynvml.c_nvmlGpuFabricInfo_t,
    "nvmlGpuFabricInfo_v2_t": pynvml.c_nvmlGpuFabricInfo_v2_t,
    "nvmlGpuFabricInfo_v3_t": pynvml.c_nvmlGpuFabricInfo_v3_t,
    "nvmlPlatformInfo_t": pynvml.c_nvmlPlatformInfo_v2_t,
    "nvmlRepairStatus_t": pynvml.c_nvmlRepairStatus_t,
    "nvmlGpmSupport_t": pynvml.c_nvmlGpmSupport_t,
    "nvmlGpmMetric_t": pynvml.c_nvmlGpmMetric_t,
}
VERSIONS = {
    "nvmlGpuFabricInfo_v2_t": (2, pynvml.nvmlGpuFabricInfo_v2),
    "nvmlGpuFabricInfo_v3_t": (3, pynvml.nvmlGpuFabricInfo_v3),
    "nvmlPciInfoExt_t": (1, pynvml.nvmlPciInfoExt_v1),
    "nvmlMarginTemperature_v1_t": (1, pynvml.nvmlMarginTemperature_v1),
    "nvmlEccSramErrorStatus_t": (1, pynvml.nvmlEccSramErrorStatus_v1),
    "nvmlPlatformInfo_t": (2, pynvml.nvmlPlatformInfo_v2),
    "nvmlRepairStatus_t": (1, pynvml.nvmlRepairStatus_v1),
    "nvmlProcessesUtilizationInfo_t": (1, pynvml.ProcessesUtilizationInfo_v1),
}
"""Of structs that carry their size and version: the version, and the number that pynvml puts into them."""
NOT_COMPARED = {"nvmlEventData_v1_t", "nvmlGpmMetricsGet_t"}
"""The first is no longer in pynvml; the second has an array of no fixed length, see test_nvml_gpm.py."""


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


def test_every_struct_of_the_library_is_compared() -> None:
    text = (SOURCES / "abi.h").read_text() + (SOURCES / "abi_health.h").read_text()
    structs = set(re.findall(r"^\} (nvml\w+_t);", text, re.MULTILINE)) - {"nvmlReturn_t"}
    assert structs == set(STRUCTS) | NOT_COMPARED


@pytest.mark.parametrize("name", VERSIONS)
def test_a_versioned_struct_is_told_by_its_size(name: str) -> None:
    version, tag = VERSIONS[name]
    assert ctypes.sizeof(STRUCTS[name]) | version << 24 == tag


def test_python_reads_the_same_keys_as_the_compiler(tmp_path: Path) -> None:
    kinds = ("GPU_NUMBERS", "LINK_NUMBERS", "CALL_NUMBERS", "DRIVER_NUMBERS")
    row = (
        '#define ROW(key, name, low, high, built_in) printf("%s %.17g %.17g\\n", name, (double)(low), (double)(high));'
    )
    text = '#define WORD(key, name, built_in) printf("%s\\n", name);'
    body = "".join(f'puts("# {kind}"); {kind}(ROW)\n' for kind in kinds)
    body += "".join(f'puts("# {kind}"); {kind}(WORD)\n' for kind in ("GPU_TEXTS", "DRIVER_TEXTS"))
    source = tmp_path / "keys.c"
    source.write_text(f'#include <stdio.h>\n#include "keys.h"\n{row}\n{text}\nint main(void) {{ {body} return 0; }}')
    subprocess.run(["cc", f"-I{SOURCES}", source, "-o", tmp_path / "keys"], check=True)
    printed = subprocess.run([tmp_path / "keys"], capture_output=True, text=True, check=True).stdout
    theirs = {kind: rows.splitlines() for kind, _, rows in (part.partition("\n") for part in printed.split("# ")[1:])}
    for kind in kinds:
        ours = getattr(keys(), kind.lower())
        assert {name: (ours[name].low, ours[name].high) for name in ours} == {
            name: (float(low), float(high)) for name, low, high in map(str.split, theirs[kind])
        }
    assert [set(theirs["GPU_TEXTS"]), set(theirs["DRIVER_TEXTS"])] == [keys().gpu_texts, keys().driver_texts]


def test_the_limits_are_those_of_the_library() -> None:
    limits = dict(re.findall(r"(MAX_GPUS|MAX_LINKS) = (\d+)", (SOURCES / "state.h").read_text()))
    assert limits == {"MAX_GPUS": str(MAX_GPUS), "MAX_LINKS": str(MAX_LINKS)}


def test_the_library_is_found_by_the_name_that_programs_ask_for(library: Path) -> None:
    dynamic = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    assert "Library soname: [libnvidia-ml.so.1]" in dynamic


def test_only_calls_of_nvml_are_exported(library: Path) -> None:
    shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in shown.splitlines()]
    assert set(names) == keys().functions
    assert len(names) > 120


def test_pynvml_knows_every_function() -> None:
    known = set(re.findall(r'_nvmlGetFunctionPointer\("(\w+)"\)', Path(pynvml.__file__).read_text()))
    older = {"nvmlInit", "nvmlInit_v2", "nvmlEventSetWait"}
    missing = {name for name in keys().functions - known - older if f"{name}_v2" not in known}
    assert missing == set()
