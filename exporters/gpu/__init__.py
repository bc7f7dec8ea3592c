"""The GPU exporter: what NVML says of every GPU of this node."""
