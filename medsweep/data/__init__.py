"""Datasets: layouts on disk, checked volumes, slices as memory maps, patient folds, made-up cohorts.

Trainers read prepared slices through ``SliceSet``; nothing after prepare opens a NIfTI file.
"""
