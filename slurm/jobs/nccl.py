"""NCCL's variables for the nodes of one hardware profile: pure, and only what the profile knows."""

from fleetward.model.fleet import HardwareProfile


def nccl_environment(profile: HardwareProfile) -> dict[str, str]:
    """Return what NCCL and PyTorch are told on nodes of this kind; nothing where they have no GPU.

    The profile names no network interface, so NCCL_SOCKET_IFNAME is left to NCCL, or to the job's own environment.
    """
    if profile.gpu is None:
        return {}
    variables = {
        # NCCL's user guide, "Environment Variables": a line for each error, and nothing where there is none.
        "NCCL_DEBUG": "WARN",
        # PyTorch's "ProcessGroupNCCL Environment Variables": on an error or a time-out of a collective the communicator
        # is aborted and the process ends, so that a rank that is gone ends the attempt. torchrun sets the same.
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    }
    if profile.infiniband is not None:
        # The same guide: `=` asks for just these names; without it mlx5_1 would stand for mlx5_10 too. Devices that are
        # not listed, such as those of storage or management, carry no collectives then.
        variables["NCCL_IB_HCA"] = "=" + ",".join(profile.infiniband.devices)
    return variables
