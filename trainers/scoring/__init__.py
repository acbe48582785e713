"""The score stage: a published segmenter against the references of whole patients, apart from its training.

``score.run`` is the stage function. A new or corrected metric raises the version of this stage alone.
"""
