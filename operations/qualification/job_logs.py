"""Where the logs of burn-in jobs lie, and how they are read: from a shared folder, or from the node that wrote one."""

import base64
import binascii
import gzip
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path

from fleetward.model.burn_ins import BurnInJob
from fleetward.model.errors import FleetwardError
from fleetward.runbooks.actions.node_run import NodeRunner, NodeStepState

LONGEST = 8 * 1024 * 1024
"""Bytes of a log that are unpacked; what a broken program prints for an hour is of no use."""
_SECONDS = 30.0
_ON_THE_NODE = Path("/var/tmp")  # noqa: S108  a job's name has a word in it that nobody can know
_PACK = 'test -f "$0" && tail -c 8388608 -- "$0" | gzip -c | base64 -w 0'
"""A step keeps 64 KiB of what it prints; a log is text, which packs to a tenth."""


class NoLogError(FleetwardError):
    """A job has left no log that can be read."""


@dataclass(frozen=True)
class JobLogs:
    """Reads logs."""

    runner: NodeRunner
    folder: str = ""
    """One that nodes and daemon share; empty: a log lies on the job's first node, below /var/tmp."""

    def path(self, job: BurnInJob) -> Path:
        """Return where a job writes its log."""
        return (Path(self.folder) if self.folder else _ON_THE_NODE) / f"{job.name}.log"

    def read(self, job: BurnInJob) -> str:
        """Return a job's log; NoLogError where there is none, OutOfReachError where its node does not answer."""
        return self._shared(job) if self.folder else self._from_node(job)

    def _shared(self, job: BurnInJob) -> str:
        path = self.path(job)
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LONGEST))
                return file.read(LONGEST).decode("utf-8", "replace")
        except OSError as error:
            raise NoLogError(f"its log {path} cannot be read: {error.strerror}") from error

    def _from_node(self, job: BurnInJob) -> str:
        node, path = job.nodes[0], str(self.path(job))
        marker = f"{job.name}-{secrets.token_hex(4)}"
        found = self.runner.run(node, ["bash", "-o", "pipefail", "-c", _PACK, path], marker, _SECONDS, 0.0)
        if found.state is not NodeStepState.ENDED:
            raise NoLogError(f"its log {node}:{path} was not read within {_SECONDS:.0f} s")
        if found.exit != 0:
            raise NoLogError(f"its log {node}:{path} is not there")
        if found.cut:
            raise NoLogError(f"its log {node}:{path} is too long: {found.cut} bytes of it could not be fetched")
        return unpacked(found.output, f"{node}:{path}")


def unpacked(text: str, where: str) -> str:
    """Return what was packed; NoLogError where it is no such thing, or much too long."""
    try:
        packed = zlib.decompressobj(wbits=31)
        plain = packed.decompress(base64.b64decode(text.strip(), validate=True), LONGEST + 1)
        if not packed.eof:
            raise NoLogError(f"its log {where} is longer than {LONGEST} bytes, or was cut off on its way")
    except (binascii.Error, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise NoLogError(f"its log {where} came here damaged: {error}") from error
    return plain.decode("utf-8", "replace")
