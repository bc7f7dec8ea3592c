"""A whole cluster on one machine: image, containers, the NVML stand-in, faults."""
