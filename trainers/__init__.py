"""The torch code of the stages: generators, pools, treatments, assessment, segmentation.

Each stage is a generator function of (config, inputs, trial); none of them knows Ray, Optuna or W&B.
"""
