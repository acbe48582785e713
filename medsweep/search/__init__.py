"""A search: suggestions of Optuna batch by batch, when one is stopped early, and what it has found."""
