"""How a rank ends: the exit codes, and the errors that carry them."""

from enum import IntEnum


class Exit(IntEnum):
    """What the exit status of a rank means."""

    DONE = 0
    FAILED = 1
    STOPPED = 75  # EX_TEMPFAIL: asked to stop, and a checkpoint holds all that was done
    PEER_LOST = 76
    GPU_LOST = 79  # the number of the XID for a GPU that fell off the bus


class RankError(Exception):
    """A rank cannot go on; the message says why and what to do."""

    code = Exit.FAILED


class SetupError(RankError):
    """The job was started in a way, or with data, that it cannot work with."""


class CheckpointError(RankError):
    """A checkpoint is damaged, or belongs to another training."""


class PeerLostError(RankError):
    """Another rank ended, or has not answered in time."""

    code = Exit.PEER_LOST


class GpuLostError(RankError):
    """The GPU of this rank is gone."""

    code = Exit.GPU_LOST
