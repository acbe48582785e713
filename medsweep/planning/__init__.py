"""What a plan costs before anything runs, and what a budget lets start."""
