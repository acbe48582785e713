"""The assess stage: scores each sample of a pool, and the pool as a whole, with the reference segmenter.

``assess.run`` is the stage function; thresholds on its scores are applied later, by the segment stage. Every metric of
a pool is a function in ``metrics``.
"""
