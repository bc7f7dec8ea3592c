"""The sample training job in a lab: its files and environment on the shared /home, submitted as its user."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import fleetward
from fleetward.lab.engine import Engine
from fleetward.lab.spec import HEAD, LabSpec, LabState, cache_root
from fleetward.model.errors import FleetwardError, UsageError
from fleetward.operations.command import CommandError
from fleetward.operations.dataset import fetch_digits
from fleetward.operations.wheelhouse import download, locked

USER = "researcher"
FOLDER = f"/home/{USER}/digits"
SECONDS = 300
SOURCE = Path(fleetward.__file__).parent / "examples/digits"


class SampleJobError(FleetwardError):
    """The sample job did not end as it should have."""


def folder_on(state: LabState) -> str:
    """Return the user's folder on the nodes with the job in it; their home where it is not there yet.

    Raises UsageError where the lab has no such user yet.
    """
    home = state.home / USER
    if not home.is_dir():
        raise UsageError(
            f"the lab {state.folder.name!r} has no user {USER} yet: `fleetward lab up --name {state.folder.name}`"
            " provisions it"
        )
    return FOLDER if (home / "digits").is_dir() else f"/home/{USER}"


def prepare(engine: Engine, spec: LabSpec, state: LabState) -> None:
    """Put the job, its data and a virtual environment where every node sees them, as the user would have.

    The environment is made on a node, without a package index, from wheels downloaded here for the node's Python.
    """
    folder = state.home / USER / "digits"
    if (folder / "venv/ready").exists():
        return
    node = spec.container(spec.gpu_hosts[0].name)
    version = engine.execute(node, ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).text.strip()
    wheels = download(locked(SOURCE / "requirements.txt", version), version, cache_root() / "wheels")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (folder / "data").mkdir(exist_ok=True)
    shutil.copy(fetch_digits(cache_root()), folder / "data")
    shutil.copytree(wheels, folder / "wheels")
    owner = (state.home / USER).stat()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    script = (
        "python3 -m venv --without-pip venv && venv=$PWD/venv"
        " && site=$($venv/bin/python -c 'import site; print(site.getsitepackages()[0])')"
        ' && for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" "$site"; done && touch venv/ready'
    )
    engine.execute(node, ["sh", "-c", script], user=USER, folder=FOLDER, seconds=180)


def run(engine: Engine, spec: LabSpec) -> dict[str, Any]:
    """Submit the job, wait for its end, and return the submission's record with the job's own result.

    Raises SampleJobError where the job did not complete.
    """
    try:
        said = engine.execute(
            spec.container(HEAD),
            ["fleetward", "submit", "job.yaml", "--wait", "--json"],
            user=USER,
            folder=FOLDER,
            seconds=SECONDS,
        )
    except CommandError as error:
        log = engine.execute(spec.container(HEAD), ["sh", "-c", "tail -n 20 digits-*.log"], folder=FOLDER)
        raise SampleJobError(f"the sample job failed: {error}\n{log.text}") from None
    submitted: dict[str, Any] = json.loads(said.text)
    result = json.loads(engine.execute(spec.container(HEAD), ["cat", "checkpoints/result.json"], folder=FOLDER).text)
    return {**submitted, "result": result}
