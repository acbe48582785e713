"""The assess stage: scores each sample of a pool, and the pool as a whole, with the reference segmenter.

``score.run`` is the stage function; thresholds on its scores are applied later, by the segment stage.
"""
