"""Console programs that stream metrics to Prometheus."""
