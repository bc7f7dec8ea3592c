"""The node image: a Debian root file system made by mmdebstrap and kept until its recipe changes."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from fleetward.lab.engine import Engine
from fleetward.lab.host import BUILD_BYTES, require_disk
from fleetward.lab.spec import LabSpec, cache_root
from fleetward.model.errors import FleetwardError, OutOfReachError
from fleetward.operations.command import CommandError

BASE = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "iputils-ping", "ca-certificates"),
    *("python3", "python3-apt"),  # what Ansible's modules run on
)
"""All that a bare image has: as much as a freshly installed machine that Ansible can reach."""

BAKED = (
    *("python3-packaging", "python3-venv"),
    *(
        "slurm-wlm",
        "slurmdbd",
        "slurmrestd",
        "slurm-client",
        "slurm-wlm-jwt-plugin",
        "sackd",
        "munge",
        "mariadb-server",
    ),
    *("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "postgresql", "gcc", "libc6-dev"),
    "systemd-journal-remote",
)
"""What the roles would install: found there, it costs no time when the lab starts."""

BAKED_IN_SUITE = {
    "trixie": (),
    "forky": ("libslurm-dev", "python3-dev"),  # pyslurm is built there
}

ASLEEP = (
    *("slurmctld", "slurmdbd", "slurmd", "slurmrestd", "sackd", "munge", "mariadb"),
    *("prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "postgresql"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
)
"""Debian enables what it installs; here a role decides what a host runs."""

CUSTOMIZE = (
    f'chroot "$1" systemctl disable {" ".join(ASLEEP)} 2>/dev/null || true',
    # every host makes its own SSH keys at its first start, every cluster its own MUNGE key
    'rm -f "$1"/etc/ssh/ssh_host_*_key* "$1"/etc/munge/munge.key',
    'printf "%s\\n" "[Unit]" "Description=Make this host\'s SSH keys" "Before=ssh.service" "[Service]"'
    ' "Type=oneshot" "ExecStart=/usr/bin/ssh-keygen -A" "[Install]" "WantedBy=multi-user.target"'
    ' > "$1"/etc/systemd/system/ssh-host-keys.service',
    'chroot "$1" systemctl enable ssh-host-keys.service ssh.service',
    'chroot "$1" systemctl mask getty.target console-getty.service systemd-logind.service',
    ': > "$1"/etc/machine-id',
    'mkdir -p -m 700 "$1"/root/.ssh',
)

TRIMMED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")


@dataclass(frozen=True)
class Recipe:
    """All that decides what an image holds."""

    suite: str
    packages: tuple[str, ...]
    customize: tuple[str, ...] = CUSTOMIZE
    trimmed: tuple[str, ...] = TRIMMED

    @property
    def digest(self) -> str:
        """A name for the content: another recipe is another image."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def recipe(spec: LabSpec) -> Recipe:
    """Return the recipe of a lab's image."""
    extra = () if spec.bare else (*BAKED, *BAKED_IN_SUITE[spec.suite])
    return Recipe(spec.suite, (*BASE, *extra))


def is_cached(engine: Engine, spec: LabSpec) -> bool:
    """Tell whether the image is there and made from today's recipe."""
    return engine.image_recipe(spec.image) == recipe(spec).digest


def build(engine: Engine, spec: LabSpec) -> None:
    """Build the image of a lab's suite and give it to the engine.

    Raises FleetwardError or OutOfReachError in one sentence; what was half made is removed.
    """
    if not shutil.which("mmdebstrap"):
        raise OutOfReachError("mmdebstrap is not installed (`make lab` does it: apt-get install mmdebstrap)")
    require_disk(engine.facts.storage, BUILD_BYTES, "building the node image")
    work = cache_root() / "image"
    work.mkdir(parents=True, exist_ok=True)
    require_disk(work, BUILD_BYTES // 2, "building the node image")
    made = recipe(spec)
    with tempfile.TemporaryDirectory(dir=work, prefix=f"{spec.suite}-") as folder:
        archive = Path(folder) / "root.tar"
        bootstrap(made, archive)
        try:
            engine.take_image(archive, spec.image, made.digest)
        except CommandError as error:
            raise FleetwardError(f"{engine.facts.engine} could not take the image: {error}") from None


def bootstrap(made: Recipe, archive: Path) -> None:
    """Make the root file system as an archive; raises OutOfReachError where the mirror does not answer."""
    command = [
        *("mmdebstrap", "--variant=minbase", f"--include={','.join(made.packages)}"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in made.trimmed),
        # a suite in the making is a snapshot here, whose Release file may have run out by this machine's clock
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Retries "3"',
        '--aptopt=Acquire::http::Timeout "30"',
        *(f"--customize-hook={hook}" for hook in made.customize),
        *(made.suite, str(archive)),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=1200,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OutOfReachError("building the node image did not end within 20 minutes: is the mirror slow?") from None
    if done.returncode == 0:
        return
    said = [line.strip() for line in done.stderr.splitlines() if line.startswith(("E:", "Err:"))]
    why = next((line for line in said if not line.startswith("E: mmdebstrap")), "it gave no reason")
    if "No space left" in done.stderr:
        raise FleetwardError(f"the disk filled up while the node image was built at {archive.parent}: free some space")
    if any(word in done.stderr for word in ("Could not resolve", "Failed to fetch", "Could not connect", "Err:")):
        raise OutOfReachError(f"the package mirror did not give what {made.suite} needs: {why}; try again later")
    raise FleetwardError(f"mmdebstrap could not make {made.suite}: {why}")
