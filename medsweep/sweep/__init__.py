"""From a YAML file to a plan: the file, its arms and replicates, fractions of factors, the trials, and no leak.

Nothing here runs a trial or looks into the store.
"""
