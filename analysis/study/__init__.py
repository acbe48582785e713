"""The whole analysis: which statistics answer which question, the verdicts, their limits and their wording.

``analyse.analyse_table`` takes any table of patients and arms.
"""
