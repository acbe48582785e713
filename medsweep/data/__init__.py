"""Datasets: layouts on disk, checked volumes, slices as memory maps, patient folds, made-up cohorts."""
