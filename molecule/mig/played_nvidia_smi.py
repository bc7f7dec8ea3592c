#!/usr/bin/python3
"""nvidia-smi, played for a Molecule scenario: eight H100 of 80 GB that keep in a file how they are divided.

It answers and refuses in the words that NVIDIA's MIG User Guide shows, and knows nothing else. A program computes on a
GPU where /run/played-programs has a line `GPU PID NAME`; something looks at the GPUs where /run/played-watchers has
an entry.
"""

import json
import sys
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

STATE = Path("/var/lib/played-nvidia-smi.json")
PROGRAMS, WATCHERS = Path("/run/played-programs"), Path("/run/played-watchers")
IN_USE, NOT_FOUND, NO_RESOURCES, INVALID = 19, 6, 23, 2
BUSY = "In use by another client"


@dataclass(frozen=True)
class Profile:
    """A row of `mig -lgip`."""

    id: int
    size: int
    starts: tuple[int, ...]
    most: int
    memory: str
    multiprocessors: int


PROFILES = {
    "1g.10gb": Profile(19, 1, (0, 1, 2, 3, 4, 5, 6), 7, "9.75", 16),
    "1g.10gb+me": Profile(20, 1, (0, 1, 2, 3, 4, 5, 6), 1, "9.75", 16),
    "1g.20gb": Profile(15, 2, (0, 2, 4, 6), 4, "19.62", 26),
    "2g.20gb": Profile(14, 2, (0, 2, 4), 3, "19.62", 32),
    "3g.40gb": Profile(9, 4, (0, 4), 2, "39.50", 60),
    "4g.40gb": Profile(5, 4, (0,), 1, "39.50", 64),
    "7g.80gb": Profile(0, 8, (0,), 1, "79.25", 132),
}


@dataclass
class Instance:
    """A GPU instance, and whether it has a compute instance."""

    profile: str
    start: int
    id: int
    compute: bool


@dataclass
class Gpu:
    """How one GPU is divided."""

    number: str
    mig: bool = False
    pending: bool = False
    instances: list[Instance] = field(default_factory=list)

    def free_starts(self, name: str) -> list[int]:
        """Return where one more of a profile finds room."""
        profile = PROFILES[name]
        slices = {one.start + at for one in self.instances for at in range(PROFILES[one.profile].size)}
        compute = int(name[0]) + sum(int(one.profile[0]) for one in self.instances)
        if compute > 7 or sum(one.profile == name for one in self.instances) >= profile.most:
            return []
        return [start for start in profile.starts if not slices & set(range(start, start + profile.size))]

    def used(self) -> bool:
        """Say whether a program computes on it."""
        return any(words[0] == self.number for words in programs())


class RefusedError(Exception):
    """What nvidia-smi refuses: its words, and its exit status."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def programs() -> list[list[str]]:
    return [line.split() for line in PROGRAMS.read_text().splitlines()] if PROGRAMS.exists() else []


def set_mode(gpu: Gpu, on: bool) -> None:
    bus = f"00000000:{16 + int(gpu.number):02X}:00.0"
    looked_at = WATCHERS.is_dir() and any(WATCHERS.iterdir())
    gpu.pending = on
    if gpu.mig != on and (looked_at or gpu.used() or gpu.instances):
        say(f"Warning: MIG mode is in pending {'enable' if on else 'disable'} state for GPU {bus}:{BUSY}")
        say(f"{bus} is currently being used by one or more other processes (e.g. CUDA application).")
        return
    gpu.mig = on
    say(f"{'Enabled' if on else 'Disabled'} MIG Mode for GPU {bus}")


def create(gpu: Gpu, words: str, with_compute: bool) -> None:
    """Create one instance; those that came before it stay, where it is refused."""
    name, _, start = words.partition(":")
    name = next((one for one, of in PROFILES.items() if str(of.id) == name), name)
    unable = f"Unable to create a GPU instance on GPU  {gpu.number} using profile"
    if name not in PROFILES:
        raise RefusedError(f"{unable} {name}: Invalid Argument", INVALID)
    starts = [one for one in gpu.free_starts(name) if not start or one == int(start)]
    if not starts:
        raise RefusedError(f"{unable} {PROFILES[name].id}: Insufficient Resources", NO_RESOURCES)
    number = min(set(range(1, 15)) - {one.id for one in gpu.instances})
    gpu.instances.append(Instance(name, starts[0], number, with_compute))
    made = f"GPU  {gpu.number} using profile MIG {name} (ID {PROFILES[name].id:2})"
    say(f"Successfully created GPU instance ID {number:2} on {made}")


def destroy(gpu: Gpu, compute: bool) -> None:
    if not gpu.instances:
        raise RefusedError(f"No {'compute' if compute else 'GPU'} instances found: Not Found", NOT_FOUND)
    for one in list(gpu.instances):
        of = f"GPU  {gpu.number} GPU instance ID {one.id:2}" if compute else f"GPU  {gpu.number}"
        what = f"compute instance ID  0 from {of}" if compute else f"GPU instance ID {one.id:2} from {of}"
        if gpu.used() or (one.compute and not compute):
            raise RefusedError(f"Unable to destroy {what}: {BUSY}", IN_USE)
        if compute:
            one.compute = False
        else:
            gpu.instances.remove(one)
        say(f"Successfully destroyed {what}")


def list_gpus(gpus: list[Gpu]) -> None:
    for gpu in gpus:
        say(f"GPU {gpu.number}: NVIDIA H100 80GB HBM3 (UUID: GPU-{uuid.uuid5(uuid.NAMESPACE_OID, gpu.number)})")
        for device, one in enumerate(one for one in gpu.instances if one.compute):
            made = uuid.uuid5(uuid.NAMESPACE_OID, f"{gpu.number}/{one.id}")
            say(f"  MIG {one.profile:<11} Device {device:2}: (UUID: MIG-{made})")


def list_instances(gpus: list[Gpu]) -> None:
    if not any(gpu.instances for gpu in gpus):
        raise RefusedError("No GPU instances found: Not Found", NOT_FOUND)
    say("| GPU   Name             Profile  Instance   Placement  |")
    for gpu in gpus:
        for one in gpu.instances:
            of = PROFILES[one.profile]
            say(f"|{gpu.number:>4}  MIG {one.profile:<12}{of.id:6}{one.id:9}{one.start:11}:{of.size}     |")


def list_profiles(gpu: Gpu, placements: bool) -> None:
    for name, of in PROFILES.items():
        if placements:
            many = "Placements:" if len(of.starts) > 1 else "Placement :"
            say(f"GPU {gpu.number:>2} Profile ID {of.id:2} {many} {{{','.join(map(str, of.starts))}}}:{of.size}")
        else:
            free = f"{len(gpu.free_starts(name))}/{of.most}"
            named = f"|{gpu.number:>4}  MIG {name:<13}{of.id:6}"
            say(f"{named}{free:>8}{of.memory:>12}      No{of.multiprocessors:7}     1     0   |")
            say("|                                                             1     1     0   |")


def mig(gpus: list[Gpu], words: list[str]) -> None:
    chosen = [gpu for gpu in gpus if gpu.mig]
    if not chosen:
        raise RefusedError("No MIG-enabled devices found.", NOT_FOUND)
    if "-lgi" in words:
        list_instances(chosen)
        return
    for gpu in chosen:
        if "-cgi" in words:
            for wanted in words[words.index("-cgi") + 1].split(","):
                create(gpu, wanted, "-C" in words)
        elif "-dci" in words or "-dgi" in words:
            destroy(gpu, "-dci" in words)
        else:
            list_profiles(gpu, "-lgipp" in words)


def answer(gpus: list[Gpu], words: list[str]) -> None:
    chosen = gpus
    if "-i" in words:
        numbers = words[words.index("-i") + 1].split(",")
        chosen = [gpu for gpu in gpus if gpu.number in numbers]
    if words[0] == "mig":
        mig(chosen, words)
    elif words == ["-L"]:
        list_gpus(gpus)
    elif words[0].startswith("--query-gpu=index,mig"):
        for gpu in gpus:
            say(", ".join([gpu.number, *("Enabled" if on else "Disabled" for on in (gpu.mig, gpu.pending))]))
    elif words[0].startswith("--query-compute-apps="):
        for program in programs():
            say(f"{program[1]}, {program[2]}")
    elif "-mig" in words:
        for gpu in chosen:
            set_mode(gpu, words[words.index("-mig") + 1] == "1")
        say("All done.")
    else:
        raise RefusedError(f"Invalid combination of input arguments: {' '.join(words)}", 1)


def read() -> list[Gpu]:
    if not STATE.exists():
        return [Gpu(str(number)) for number in range(8)]
    rows = json.loads(STATE.read_text())
    return [Gpu(**{**row, "instances": [Instance(**one) for one in row["instances"]]}) for row in rows]


def main(words: list[str]) -> int:
    gpus = read()
    try:
        answer(gpus, words)
    except RefusedError as refused:
        say(str(refused))
        return refused.status
    finally:
        STATE.write_text(json.dumps([asdict(gpu) for gpu in gpus]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
