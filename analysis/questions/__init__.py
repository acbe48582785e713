"""Analyses that answer one question of a study and fit no other."""
