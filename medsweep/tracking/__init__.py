"""Telling people what happens: the terminal from the driver, W&B from inside the trial.

Both are mirrors; the store is the truth, and a tracker that fails never fails a trial.
"""
