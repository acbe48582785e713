"""The synthesise stage: one pool of image-mask pairs, from generators or from real masks of training patients.

``synthesise.run`` is the stage function. Sample i is the same in every pool size, so pools are nested.
"""
