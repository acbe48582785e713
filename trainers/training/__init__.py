"""What every training shares: the loop that survives a kill, checkpoints, batches worked in parts, pictures."""
