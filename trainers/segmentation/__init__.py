"""The segment stage: one U-Net per trial, trained on real slices plus a prefix of a pool.

``train.run`` is the stage function; ``network.load_segmenter`` opens what it leaves behind.
"""
