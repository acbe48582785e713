"""Statistical tests and estimates, pure: arrays or a reduced table in, one small frozen record out.

Ranks, pairs, effects, equivalence, runs as random, doses and data sets. Nothing here words a sentence.
"""
