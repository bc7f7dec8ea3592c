"""What runs on a GPU node to tell how it is: probes that read, checks that judge."""
