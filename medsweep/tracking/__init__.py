"""Telling people what happens, in the terminal and in W&B; a tracker that fails never fails a trial."""
