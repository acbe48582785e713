"""The whole analysis: which statistics answer which question, the verdicts, their limits and their wording."""
