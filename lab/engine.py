"""podman or docker, as far as a lab needs one."""

import contextlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fleetward.lab import cgroups
from fleetward.lab.host import HostFacts
from fleetward.lab.spec import LabHost, LabSpec, LabState
from fleetward.model.errors import FleetwardError, UsageError
from fleetward.operations.command import CommandError, Output, run

LABEL = "fleetward.lab"
REMOVAL_TRIES = 4


@dataclass(frozen=True)
class Engine:
    """Starts and removes the containers and the network of labs."""

    facts: HostFacts

    def _run(self, *arguments: str, seconds: float = 120, stdin: str | None = None) -> Output:
        return run([self.facts.engine, *arguments], seconds=seconds, stdin=stdin)

    def take_image(self, archive: Path, image: str, recipe: str) -> None:
        """Make an image of a root file system; what had its name goes, unless a container still runs from it.

        Raises CommandError.
        """
        before = self._image_id(image)
        self._run("import", "--change", f"LABEL fleetward.recipe={recipe}", str(archive), image, seconds=300)
        if before and before != self._image_id(image):
            with contextlib.suppress(CommandError):
                self._run("image", "rm", before)

    def _image_id(self, image: str) -> str:
        try:
            return self._run("image", "inspect", "--format", "{{.Id}}", image).text.strip()
        except CommandError:
            return ""

    def image_recipe(self, image: str) -> str | None:
        """Return the digest of the recipe that an image was built from; None where it is not there."""
        try:
            found = self._run("image", "inspect", image)
        except CommandError:
            return None
        first = json.loads(found.text)[0]
        labels = first.get("Labels") or first.get("Config", {}).get("Labels") or {}
        return str(labels.get("fleetward.recipe", ""))

    def subnets(self) -> frozenset[str]:
        """Return the subnets of every network that the engine knows, in CIDR notation."""
        names = self._run("network", "ls", "--format", "{{.Name}}").text.split()
        told = self._run("network", "inspect", *names).text if names else ""
        return frozenset(re.findall(r'"(\d+\.\d+\.\d+\.\d+/\d+)"', told))

    def create_network(self, spec: LabSpec) -> None:
        """Make the lab's bridge; one that is there already with the same subnet is kept."""
        try:
            there = self._run("network", "inspect", spec.network).text
        except CommandError:
            there = ""
        if there:
            if f'"{spec.subnet}"' not in there:
                raise UsageError(
                    f"network {spec.network} is there with another subnet than {spec.subnet}:"
                    f" `fleetward lab down --name {spec.name}` first"
                )
            return
        label = f"{LABEL}={spec.name}"
        try:
            self._run("network", "create", "--label", label, "--subnet", spec.subnet, spec.network)
        except CommandError as error:
            if "subnet" in error.output or "overlap" in error.output or "already" in error.output:
                raise UsageError(
                    f"subnet {spec.subnet} is in use on this machine: name another with --subnet"
                    f" ({error.output.strip().splitlines()[-1]})"
                ) from None
            raise

    def states(self, lab: str) -> dict[str, str]:
        """Return the state of every container of a lab by container name: running, exited, created, ..."""
        listed = self._run("ps", "--all", "--quiet", "--filter", f"label={LABEL}={lab}").text.split()
        if not listed:
            return {}
        told = self._run("inspect", "--format", "{{.Name}}\t{{.State.Status}}", *listed).text
        rows = [line.lstrip("/").partition("\t") for line in told.splitlines()]
        return {name: state for name, _, state in rows}

    def start(self, spec: LabSpec, host: LabHost, state: LabState) -> None:
        """Start the container of one host, with systemd as its first process."""
        name = spec.container(host.name)
        facts = self.facts
        arguments = [
            *("run", "--detach", "--name", name, "--hostname", host.name),
            *("--network", spec.network, "--ip", host.address),
            *("--label", f"{LABEL}={spec.name}"),
            *(("--runtime", facts.runtime) if facts.runtime else ()),
            *("--ulimit", f"nofile={facts.open_files}:{facts.open_files}"),
            *("--ulimit", f"nproc={facts.processes}:{facts.processes}"),
            # what systemd mounts, the device nodes that play GPUs, and what sshd writes of a session with a terminal
            *("--cap-add", "SYS_ADMIN", "--cap-add", "MKNOD", "--cap-add", "SYS_PTRACE", "--cap-add", "AUDIT_WRITE"),
            *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
            *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),  # noqa: S108  inside the container
            *("--env", "container=podman", "--stop-signal", "SIGRTMIN+3"),
            *("--volume", f"{state.home}:/home"),
            # sshd's second file: the first is the host's own, which roles may write
            *("--volume", f"{state.folder / 'authorized_keys'}:/root/.ssh/authorized_keys2:ro"),
        ]
        if facts.engine == "podman":
            arguments += ["--systemd=false", "--security-opt", "unmask=ALL"]
        else:
            arguments += ["--security-opt", "systempaths=unconfined", "--cgroupns", "private"]
        first = (
            ["/sbin/init"] if facts.unified_cgroups else ["/bin/sh", "-c", cgroups.ENTRY, "entry", cgroups.group(name)]
        )
        self._run(*arguments, spec.image, *first)

    def remove(self, container: str) -> None:
        """Kill and remove one container with its control group; one that is gone already is no error."""
        at_once = ("--time", "0") if self.facts.engine == "podman" else ()
        for tries_left in reversed(range(REMOVAL_TRIES)):
            try:
                self._run("rm", "--force", "--volumes", *at_once, container, seconds=60)
                break
            except CommandError as error:
                if "o such container" in error.output:
                    break
                # podman's own clean-up may hold the container at this moment ("container state improper")
                if not tries_left:
                    raise
                time.sleep(1)
        if not self.facts.unified_cgroups and not cgroups.remove(container):
            raise FleetwardError(
                f"the control group {cgroups.group(container)} is still busy: run the command again in a moment"
            )

    def remove_network(self, spec: LabSpec) -> None:
        """Remove the lab's bridge; one that is gone already is no error."""
        try:
            self._run("network", "rm", "--force", spec.network) if self.facts.engine == "podman" else self._run(
                "network", "rm", spec.network
            )
        except CommandError as error:
            if "not found" not in error.output and "No such network" not in error.output:
                raise

    def execute(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str = "root",
        folder: str = "/",
        stdin: str | None = None,
        seconds: float = 120,
    ) -> Output:
        """Run one program in a container and return what it printed."""
        keep_open = ("--interactive",) if stdin is not None else ()
        return self._run(
            *("exec", *keep_open, "--user", user, "--workdir", folder, container, *argv),
            stdin=stdin,
            seconds=seconds,
        )

    def become(
        self,
        container: str,
        argv: Sequence[str],
        *,
        terminal: bool,
        user: str = "root",
        folder: str = "/",
        environment: Sequence[str] = (),
    ) -> NoReturn:
        """Replace this process by a program in a container: its terminal and exit code are ours.

        `environment` names variables of ours that the program gets too, where they are set.
        """
        ways = ("--interactive", "--tty") if terminal else ("--interactive",)
        handed_on = [f"--env={name}={os.environ[name]}" for name in environment if name in os.environ]
        words = ["exec", *ways, *handed_on, "--user", user, "--workdir", folder, container, *argv]
        os.execvp(self.facts.engine, [self.facts.engine, *words])
