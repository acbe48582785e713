"""A search: distributions, suggestions of Optuna batch by batch, and what it has found."""
