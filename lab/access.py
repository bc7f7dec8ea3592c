"""SSH into a lab: its own key, and host keys that are read out of the containers rather than trusted."""

import time
from pathlib import Path

from fleetward.lab.engine import Engine
from fleetward.lab.spec import LabSpec, LabState
from fleetward.model.errors import OutOfReachError
from fleetward.operations.command import CommandError, run

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


def make_key(state: LabState) -> None:
    """Make the lab's key pair where it is not there yet."""
    if not state.ssh_key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleetward-lab", "-f", str(state.ssh_key)])
    public = Path(f"{state.ssh_key}.pub").read_text()
    (state.folder / "authorized_keys").write_text(public)


def learn_host_keys(engine: Engine, spec: LabSpec, state: LabState, *, seconds: float = 60) -> None:
    """Wait until every host has made its key and listens, and write `known_hosts`.

    Raises OutOfReachError naming the host that did not come up within `seconds`.
    """
    until = time.monotonic() + seconds
    lines = []
    for host in spec.hosts:
        ready = f"test -s {HOST_KEY} && systemctl is-active --quiet ssh && cat {HOST_KEY}"
        while True:
            try:
                key = engine.execute(spec.container(host.name), ["sh", "-c", ready], seconds=20).text
                break
            except CommandError as error:
                if time.monotonic() > until:
                    raise OutOfReachError(
                        f"{host.name} did not start its SSH server within {seconds:.0f} s: see"
                        f" `{engine.facts.engine} logs {spec.container(host.name)}` ({error})"
                    ) from None
                time.sleep(0.2)
        kind, body = key.split()[:2]
        lines.append(f"{host.address} {kind} {body}\n")
    draft = state.known_hosts.with_suffix(".new")
    draft.write_text("".join(lines))
    draft.replace(state.known_hosts)
