"""Analyses that answer one question of a study and fit no other.

What two questions share moves up into ``analysis``.
"""
