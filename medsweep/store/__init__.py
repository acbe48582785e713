"""What is finished: published trials by digest, the rooms they are made in under a lease, and copies on each node.

Only a published folder exists for the rest of the system. ``collection`` keeps the store in order.
"""
