"""Arms by their ranks: omnibus tests, all pairs, corrections, how firm the ranking is."""
