"""Diffusion models for small medical image sets: b-dm (image and mask) and c-dm (image given mask).

Karras et al. 2022 (EDM, arXiv 2206.00364) around the U-Net of MONAI, with masks as signed distances.
"""
