"""What is finished: published trials by digest, the rooms they are made in under a lease, copies on each node."""
