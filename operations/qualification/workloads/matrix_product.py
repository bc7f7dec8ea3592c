"""A matrix product on each GPU, over and over, always with the same result: for sites that have PyTorch and no HPL.

What runs is `scripts/matrix_product.py`; its one line of JSON is read here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from fleetward.operations.qualification.measuring import (
    Fault,
    Measurement,
    Reading,
    Unit,
    UnreadableError,
    fields,
    items,
    json_object,
    number,
    shown,
)
from fleetward.operations.qualification.workload import Each, Measure, Part, Scope, Setting, Workload, gpu_name, gpus_of

PERFORMANCE = "matrix_product_performance"
_SCRIPT = Path(__file__).parent.parent / "scripts" / "matrix_product.py"
_SECONDS = 60


def parse(text: str) -> Reading:
    """Read the line that the script printed."""
    root = fields(json_object(text, "the matrix product").get("matrix_product"), "`matrix_product`")
    if root.get("error"):
        raise UnreadableError(shown(root["error"]))
    measured: list[Measurement] = []
    faults: list[Fault] = []
    checksums: dict[str, str] = {}
    for one in items(root.get("devices"), "`devices`"):
        device = fields(one, "a device")
        index = device.get("index")
        if not isinstance(index, int) or not 0 <= index < 1000:
            raise UnreadableError(f"{shown(index)!r} is no number of a GPU")
        name = gpu_name(index)
        if device.get("error"):
            faults.append(Fault(shown(device["error"]), name))
            continue
        wrong, speed = number(device.get("mismatches")), number(device.get("tflops"))
        if wrong is None or not speed:
            raise UnreadableError(f"{name} has no count of wrong results, or no speed")
        if wrong:
            faults.append(Fault(f"{wrong:.0f} products differ from the first one: data was corrupted", name))
        measured.append(Measurement(PERFORMANCE, speed, Unit.TFLOPS, name))
        checksums[name] = shown(device.get("checksum"))
    return Reading(tuple(measured), (*faults, *_odd(checksums)))


def _odd(checksums: Mapping[str, str]) -> Iterator[Fault]:
    """Yield the GPUs whose product is another one than that of most; GPUs of one model compute the same bits."""
    counted = Counter(checksums.values())
    usual, many = counted.most_common(1)[0] if counted else ("", 0)
    if many * 2 > len(checksums):
        for name, checksum in checksums.items():
            if checksum != usual:
                yield Fault("its product is another one than that of the other GPUs: data was corrupted", name)


def _command(setting: Setting) -> list[str]:
    gpus = gpus_of(setting.profile)
    return [setting.python, "matrix_product.py", "--devices", str(gpus), "--seconds", str(_SECONDS)]


def _files(_: Setting) -> dict[str, str]:
    return {"matrix_product.py": _SCRIPT.read_text(encoding="utf-8")}


MATRIX_PRODUCT = Workload(
    id="matrix_product",
    title="The same matrix product over and over on each GPU",
    scope=Scope.NODE,
    programs=("{python}",),
    command=_command,
    seconds=600,
    uses=frozenset({Part.GPU}),
    parse=parse,
    measures=(Measure(PERFORMANCE, Unit.TFLOPS, Each.GPU),),
    look_next="clocks and power under load (`nvidia-smi -q -d PERFORMANCE`), heat, ECC counts; a wrong product is "
    "silent data corruption: keep the node out, and tell the owners of its jobs",
    source="gcm (golden results); the script is our own",
    judges_itself=True,
    files=_files,
)

WORKLOADS = (MATRIX_PRODUCT,)
