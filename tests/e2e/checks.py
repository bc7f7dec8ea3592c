"""What each role provides, as seen from outside. Without the role its check fails and says what is missing."""

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import httpx


class Cluster(Protocol):
    """The part of a lab that the checks ask."""

    def on(
        self, node: str, *command: str, user: str = "root", seconds: float = 60
    ) -> subprocess.CompletedProcess[str]: ...

    def address(self, node: str) -> str: ...

    def prometheus(self, query: str) -> list[tuple[dict[str, str], float]]: ...


@dataclass(frozen=True)
class RoleCheck:
    """A role, what it provides in words, and the look that tells."""

    role: str
    provides: str
    holds: Callable[[Cluster], bool]


def _succeeds(node: str, *command: str, user: str = "root", prints: str = "") -> Callable[[Cluster], bool]:
    def look(lab: Cluster) -> bool:
        try:
            done = lab.on(node, *command, user=user)
        except subprocess.TimeoutExpired:  # what does not answer is not there either
            return False
        return done.returncode == 0 and prints in done.stdout

    return look


def _credential_travels(lab: Cluster) -> bool:
    made = lab.on("head", "munge", "-n")
    return made.returncode == 0 and lab.on("gpu001", "sh", "-c", f"echo '{made.stdout}' | unmunge").returncode == 0


def _rest_wants_a_token(lab: Cluster) -> bool:
    url = f"http://{lab.address('head')}:6820/slurm/v0.0.42/nodes"
    token = lab.on("head", "scontrol", "token", "username=researcher", "lifespan=60").stdout.strip().partition("=")[2]
    try:
        without = httpx.get(url, timeout=10).status_code
        headers = {"X-SLURM-USER-NAME": "researcher", "X-SLURM-USER-TOKEN": token}
        return without == 401 and httpx.get(url, headers=headers, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def _scraped(job: str, hosts: int) -> Callable[[Cluster], bool]:
    def look(lab: Cluster) -> bool:
        until = time.monotonic() + 20  # the first scrape comes within an interval of 5 s
        while time.monotonic() < until:
            try:
                if len(lab.prometheus(f'up{{job="{job}"}} == 1')) == hosts:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(1)
        return False

    return look


def _told_healthy(nodes: int) -> Callable[[Cluster], bool]:
    def look(lab: Cluster) -> bool:
        until = time.monotonic() + 60  # Slurm runs the checks every 20 s in a lab
        while time.monotonic() < until:
            try:
                if len(lab.prometheus('node_health_checks{status="unhealthy"} == 0')) >= nodes:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(1)
        return False

    return look


CHECKS = (
    RoleCheck(
        "common",
        "host names and users that all hosts agree on",
        _succeeds("gpu001", "sh", "-c", "getent hosts gpu003 && getent passwd researcher", prints="researcher:x:2001"),
    ),
    RoleCheck("munge", "credentials made on one host and accepted on another", _credential_travels),
    RoleCheck(
        "mariadb", "the database server that accounting is kept in", _succeeds("head", "mariadb", "-e", "select 1")
    ),
    RoleCheck(
        "slurm_database",
        "slurmdbd and the cluster's place in it",
        _succeeds("head", "sacctmgr", "-nP", "show", "cluster", "format=cluster", prints="lab"),
    ),
    RoleCheck("slurm_controller", "slurmctld that answers", _succeeds("head", "scontrol", "ping", prints="UP")),
    RoleCheck(
        "slurm_controller",
        "accounts and QOS as declared",
        _succeeds("head", "sacctmgr", "-nP", "show", "assoc", "user=researcher", "format=account", prints="research"),
    ),
    RoleCheck("slurm_controller", "slurmrestd that lets in who brings a token", _rest_wants_a_token),
    RoleCheck(
        "gpu_simulator",
        "eight GPUs a node, as NVML tells it",
        _succeeds("gpu001", "fleetward", "gpus", "--json", prints='"index": 7'),
    ),
    RoleCheck(
        "slurm_node",
        "GPU nodes that take jobs",
        _succeeds(
            "head",
            "srun",
            "--account=research",
            "--immediate=30",  # seconds to wait for nodes; without it srun waits for ever
            "-N3",
            "--gpus-per-node=h100:8",
            "hostname",
            user="researcher",
            prints="gpu003",
        ),
    ),
    RoleCheck(
        "slurm_client",
        "sinfo and squeue that show GPUs to whoever logs in",
        _succeeds("head", "bash", "-lc", "sinfo", user="researcher", prints="gpu:h100:8"),
    ),
    RoleCheck(
        "fleetward",
        "the fleetward command on every host",
        _succeeds("gpu002", "fleetward", "--version", prints="fleetward"),
    ),
    RoleCheck("node_exporter", "metrics of every host", _scraped("node", 4)),
    RoleCheck("gpu_exporter", "metrics of every GPU node", _scraped("gpu", 3)),
    RoleCheck("node_health", "the health of every GPU node", _told_healthy(3)),
    RoleCheck("slurm_exporter", "metrics of Slurm", _scraped("slurm", 1)),
    RoleCheck("alertmanager", "Alertmanager that alerts are sent to", _scraped("alertmanager", 1)),
    RoleCheck(
        "postgresql",
        "the database that incidents and runs are kept in",
        _succeeds("head", "psql", "-AtXc", "select 1", "fleetward", user="fleetward", prints="1"),
    ),
    RoleCheck(
        "fleetward_server",
        "the daemon that takes alerts and runs pages",
        _succeeds("head", "fleetward", "autopilot", "status", "--json", prints='"reaches"'),
    ),
    RoleCheck("prometheus", "Prometheus that scrapes itself", _scraped("prometheus", 1)),
)


def missing(lab: Cluster, checks: Iterable[RoleCheck] = CHECKS) -> list[str]:
    """Return a sentence for each thing that a role should have provided and that is not there."""
    return [f"role {check.role} provides {check.provides}: not there" for check in checks if not check.holds(lab)]
