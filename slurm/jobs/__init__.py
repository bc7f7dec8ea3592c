"""What people hand in: specifications of jobs, and the batch scripts that are made of them."""
