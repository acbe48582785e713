"""What a plan costs, whether it leaks, and what it can show, before anything runs."""
