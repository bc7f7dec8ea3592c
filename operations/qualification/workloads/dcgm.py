"""NVIDIA's own diagnostics, `dcgmi diag`, with their JSON in the layouts of DCGM 3 and DCGM 4.

DCGM 3.3 (dcgmi/Diag.cpp) has `DCGM GPU Diagnostic`, one result for each `gpu_id`, and warnings whose text stands under
`warning` or `warnings`. DCGM 4 to 4.6 has `DCGM Diagnostic`, a result for each entity, and a `test_summary`. Words of a
status are compared without regard to case.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fleetward.operations.qualification.measuring import (
    Fault,
    Reading,
    UnreadableError,
    fields,
    items,
    json_object,
    shown,
)
from fleetward.operations.qualification.workload import Part, Scope, Setting, Workload, gpu_name

_ROOTS = ("DCGM Diagnostic", "DCGM GPU Diagnostic")
_SOFTWARE = "deployment"
"""The category of tests that look at the system's set-up, and put no load on a GPU."""
_KNOWN = frozenset({"pass", "fail", "warn", "skip", "not run"})


def parse(text: str) -> Reading:
    """Read what `dcgmi diag --json` printed."""
    found = json_object(text, "dcgmi")
    name = next((name for name in _ROOTS if name in found), None)
    if name is None:
        raise UnreadableError(f"the JSON of dcgmi has neither {' nor '.join(map(repr, _ROOTS))}")
    root = fields(found[name], name)
    if root.get("runtime_error"):
        raise UnreadableError(f"dcgmi could not run the diagnostics: {shown(root['runtime_error'])}")
    faults: list[Fault] = []
    notes: list[str] = []
    under_load = False
    for category in items(root.get("test_categories"), "`test_categories`"):
        told = fields(category, "a category")
        loads = str(told.get("category", "")).casefold() != _SOFTWARE
        for test in items(told.get("tests"), "`tests`"):
            passed = _read(fields(test, "a test"), faults, notes)
            under_load |= passed and loads
    if not under_load and not faults:
        raise UnreadableError(f"dcgmi ran no test that puts load on a GPU{f': {notes[0]}' if notes else ''}")
    return Reading((), tuple(dict.fromkeys(faults)), tuple(dict.fromkeys(notes)))


def _read(test: Mapping[str, Any], faults: list[Fault], notes: list[str]) -> bool:
    """Take down what one test found; return whether a part passed it."""
    name = shown(test.get("name") or "a test without a name")
    results = [fields(one, f"a result of {name}") for one in items(test.get("results", []), f"the results of {name}")]
    own = len(faults)
    passed = False
    for result in results:
        passed |= _one(name, result, faults, notes)
    if "test_summary" in test and len(faults) == own:  # it repeats what the results say, and more where they are none
        summary = _one(name, fields(test["test_summary"], f"the summary of {name}"), faults, [])
        passed |= summary and not results
    return passed


def _one(name: str, result: Mapping[str, Any], faults: list[Fault], notes: list[str]) -> bool:
    status = str(result.get("status", "")).strip().casefold()
    if status not in _KNOWN:
        raise UnreadableError(f"{name} ended as {shown(result.get('status'))!r}, which is no known status")
    words = "; ".join(_warnings(result.get("warnings", [])))
    if status in ("fail", "warn"):
        faults.append(Fault(shown(f"{name}: {words or 'failed, and dcgmi does not say why'}"), _entity(result)))
    elif status != "pass":
        notes.append(shown(f"{name} was left out{f': {words}' if words else ''}"))
    return status == "pass"


def _warnings(found: object) -> Iterator[str]:
    """Yield the texts of warnings, whichever way a version writes them."""
    for one in found if isinstance(found, list) else [found]:
        text = (one.get("warning") or one.get("warnings")) if isinstance(one, dict) else one
        if text:
            yield shown(text)


def _entity(result: Mapping[str, Any]) -> str:
    """Return the part that a result is of: `GPU 3`, or empty where it is of all."""
    if "entity_id" in result:
        group = shown(result.get("entity_group", "entity"))
        return gpu_name(shown(result["entity_id"])) if group == "GPU" else f"{group} {shown(result['entity_id'])}"
    gpu = str(result.get("gpu_id", result.get("gpu_ids", "")))
    return gpu_name(gpu) if gpu.isdecimal() and len(gpu) < 4 else ""


def _workload(id: str, title: str, level: int, seconds: int) -> Workload:
    def command(_: Setting) -> list[str]:
        return ["dcgmi", "diag", "--run", str(level), "--json"]

    return Workload(
        id=id,
        title=title,
        scope=Scope.NODE,
        programs=("dcgmi",),
        command=command,
        seconds=seconds,
        uses=frozenset({Part.GPU}),
        parse=parse,
        look_next="the test that it names in DCGM's guide to error codes, and XIDs in the kernel's log of that hour",
        source="gcm, awslabs gpu-cluster-healthcheck",
        judges_itself=True,
    )


# What `dcgmi diag --help` says they take: 2 minutes and 15 minutes.
MEDIUM = _workload("dcgm_medium", "DCGM diagnostics, level 2", 2, 1200)
LONG = _workload("dcgm_long", "DCGM diagnostics, level 3", 3, 3600)

WORKLOADS = (MEDIUM, LONG)
