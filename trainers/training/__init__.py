"""What every training shares: the loop that survives a kill, checkpoints, gradient accumulation, pictures."""
