"""What takes long and acts on many hosts: provisioning, and the wheels that nodes install from."""
