"""The workloads of a burn-in, one program in each file: how it is started and what its output says."""
