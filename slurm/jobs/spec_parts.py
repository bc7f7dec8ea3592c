"""The parts of a job specification that have fields of their own."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fleetward.slurm.jobs.spec_fields import Image, JobId, PathInList, Seconds, Truth

KILL_WAIT = 30
"""Seconds; at most so long does a step that was told TERM have until it is killed, as with Slurm's own KillWait."""


class Part(BaseModel):
    """What all parts of a specification have in common: no unknown fields, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, use_attribute_docstrings=True)


class Mount(Part):
    """A folder or file of the node that the container sees; a text alone is `source`."""

    source: PathInList
    """Where it is on the node."""
    target: PathInList | None = None
    """Where the container sees it; by default in the same place."""
    read_only: Truth = False
    """Whether the container cannot change it."""


def _as_mount(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


class Container(Part):
    """The container that the tasks run in, for Pyxis; the batch script and `setup` run outside of it."""

    image: Image
    """A squashfs file on the nodes, or an image of a registry, as in nvcr.io#nvidia/pytorch:25.05-py3."""
    mounts: tuple[Annotated[Mount, BeforeValidator(_as_mount)], ...] = ()
    """What of the node the container sees: paths, or mappings of `source`, `target` and `read_only`."""
    workdir: PathInList | None = None
    """The folder that the command starts in; by default the image's, not the job's."""
    mount_home: Truth | None = None
    """Whether the container sees the home folder; by default as the site has it."""


class Dependency(Part):
    """Another job that this one waits for."""

    job: JobId | None = None
    """Its id in quotes, as in "12", or "12_3" for one task of an array; none with `singleton`."""
    condition: Literal["afterok", "afterany", "afternotok", "after", "aftercorr", "singleton"] = "afterok"
    """When it lets this job start: after it succeeded (afterok), ended (afterany), failed (afternotok) or began
    (after); task by task of two arrays (aftercorr); after all jobs of the same name and user (singleton)."""

    @model_validator(mode="after")
    def _says_which_job(self) -> Self:
        if self.condition == "singleton" and self.job is not None:
            raise ValueError("condition: singleton waits for all jobs of this name; leave job out")
        if self.condition != "singleton" and self.job is None:
            raise ValueError(f'condition: {self.condition} needs job, as in job: "12"')
        if self.condition == "aftercorr" and self.job is not None and "_" in self.job:
            raise ValueError(f'condition: aftercorr needs a whole array as job, and "{self.job}" is one task of it')
        return self


class Survive(Part):
    """How a job that is ended before its work is done goes on: it is warned, saves, and queues itself again."""

    warning: Annotated[Seconds, Field(ge=10)] = 300
    """Seconds before the time limit at which the tasks get the signal; Slurm may be up to 60 s early."""
    signal: Literal["USR1", "USR2"] = "USR1"
    """The signal; srun hands no others on as they are (it takes TERM, HUP, INT and QUIT for orders to end the step)."""
    attempts: Annotated[int, Field(ge=1, le=1000, strict=True)] = 3
    """How often the job may run in all; each start counts, also those after a node failed."""
    requeue_on_timeout: Truth = True
    """Whether a job that was warned queues itself again once its step has ended; else it is warned and no more."""
    grace: Seconds | None = None
    """Seconds that the step has after the warning until it is ended; by default a minute less than `warning`."""

    @property
    def grace_seconds(self) -> int:
        """Return the seconds between the warning and the end of a step that goes on."""
        if self.grace is not None:
            return self.grace
        return self.warning - 60 if self.warning >= 120 else self.warning // 3

    @property
    def kill_wait(self) -> int:
        """Return the seconds between the order to end the step and the end of srun itself."""
        return min(self.grace_seconds, KILL_WAIT)

    @model_validator(mode="after")
    def _ends_before_the_limit(self) -> Self:
        needed = self.grace_seconds + self.kill_wait
        if needed >= self.warning:
            raise ValueError(
                f"grace: {self.grace_seconds} and the {self.kill_wait} s until what is left is killed do not fit into "
                f"warning: {self.warning}; make warning more than {needed}, or grace less"
            )
        return self
