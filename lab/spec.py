"""What one lab is: its name, suite, nodes and addresses, and where its state is kept."""

import ipaddress
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fleetward.model.errors import UsageError

SUITES = ("trixie", "forky")
DEFAULT_NAME = "lab"
DEFAULT_SUBNET = "10.213.1.0/24"
HEAD = "head"
MOST_NODES = 99
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class LabHost:
    """One container: its host name and its address on the lab's bridge."""

    name: str
    address: str


@dataclass(frozen=True)
class LabSpec:
    """What was asked for with `lab up`; two labs with different names share nothing but images."""

    name: str = DEFAULT_NAME
    suite: str = SUITES[0]
    nodes: int = 3
    bare: bool = False
    subnet: str = DEFAULT_SUBNET

    def __post_init__(self) -> None:
        """Refuse what could never become a lab."""
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"--name {self.name!r}: a lab's name is up to 31 of a-z, 0-9 and '-', a letter first")
        if self.suite not in SUITES:
            raise UsageError(f"--suite {self.suite!r}: there are images for {' and '.join(SUITES)}")
        if not 1 <= self.nodes <= MOST_NODES:
            raise UsageError(f"--nodes {self.nodes}: a lab has 1 to {MOST_NODES} GPU nodes")
        try:
            network = ipaddress.IPv4Network(self.subnet)
        except ValueError as error:
            raise UsageError(f"--subnet {self.subnet!r}: {error}; write it as 10.213.1.0/24") from None
        if network.prefixlen > 24 or not network.is_private:
            raise UsageError(f"--subnet {self.subnet}: needs a private network of at least 256 addresses")

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """Head at .10 and gpuNNN at .100+N of the subnet."""
        base = ipaddress.IPv4Network(self.subnet).network_address
        gpu = (LabHost(f"gpu{n:03}", str(base + 100 + n)) for n in range(1, self.nodes + 1))
        return (LabHost(HEAD, str(base + 10)), *gpu)

    @property
    def gpu_hosts(self) -> tuple[LabHost, ...]:
        """The hosts that carry GPUs."""
        return self.hosts[1:]

    @property
    def network(self) -> str:
        """Name of the bridge network."""
        return f"fleetward-{self.name}"

    @property
    def image(self) -> str:
        """Tag of the node image."""
        return f"localhost/fleetward-node{'-bare' if self.bare else ''}:{self.suite}"

    def container(self, host: str) -> str:
        """Name of the container that plays a host."""
        return f"fleetward-{self.name}-{host}"


def state_root() -> Path:
    """Where labs keep their state, one folder each."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(base) / "fleetward/lab"


def cache_root() -> Path:
    """Where downloads and built wheels are kept between labs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fleetward"


@dataclass(frozen=True)
class LabState:
    """The folder of one lab: keys, known hosts, the shared /home, and what was asked for."""

    folder: Path

    @classmethod
    def of(cls, name: str) -> "LabState":
        """Return the state of a lab by name, whether or not it is there."""
        return cls(state_root() / name)

    @property
    def ssh_key(self) -> Path:
        """Private key that opens root on every host of this lab."""
        return self.folder / "ssh_key"

    @property
    def known_hosts(self) -> Path:
        """Host keys, read out of the containers and never trusted on first use."""
        return self.folder / "known_hosts"

    @property
    def home(self) -> Path:
        """What every host mounts at /home, in the place of a site's shared file system."""
        return self.folder / "home"

    @property
    def lock(self) -> Path:
        """Held while a lab is brought up or taken down."""
        return self.folder.with_name(f".{self.folder.name}.lock")

    def inventory(self) -> Path:
        """Folder of the inventory made for this lab."""
        return self.folder / "inventory"

    def read(self) -> tuple[LabSpec, bool] | None:
        """Return what was asked for and whether it was reached; None where there is no such lab."""
        record = self.folder / "lab.json"
        try:
            kept = json.loads(record.read_text())
            ready = bool(kept.pop("ready"))
            return LabSpec(**kept), ready
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"{record} is damaged ({error}): `fleetward lab down` removes it") from None

    def write(self, spec: LabSpec, *, ready: bool) -> None:
        """Record what this lab is, and whether `lab up` came to its end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "lab.json.new"
        draft.write_text(json.dumps({**asdict(spec), "ready": ready}, indent=2) + "\n")
        draft.replace(self.folder / "lab.json")


def known_labs() -> Iterator[tuple[LabSpec, bool]]:
    """Yield every lab that has state on this machine."""
    for file in sorted(state_root().glob("*/lab.json")):
        if found := LabState(file.parent).read():
            yield found


def with_free_subnet(spec: LabSpec, taken: frozenset[str]) -> LabSpec:
    """Move a lab to the first 10.213.N.0/24 that overlaps neither another lab's nor a `taken` network."""
    networks = [*taken, *(other.subnet for other, _ in known_labs() if other.name != spec.name)]
    others = [ipaddress.IPv4Network(network, strict=False) for network in networks]
    for n in range(1, 255):
        candidate = ipaddress.IPv4Network(f"10.213.{n}.0/24")
        if not any(candidate.overlaps(other) for other in others):
            return replace(spec, subnet=str(candidate))
    raise UsageError("every subnet 10.213.1.0/24 to 10.213.254.0/24 is in use: take a lab down or name --subnet")
