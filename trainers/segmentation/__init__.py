"""The segment stage: one U-Net per trial, real slices plus a prefix of a pool, scored on whole test patients.

``train.run`` is the stage function; ``network.load_segmenter`` opens what it leaves behind.
"""
