"""StyleGAN2 for small medical image sets: B-SG (image and mask), M-SG (mask) and C-SG (image given mask).

C-SPADE, the plain peer of C-SG, shares all but the generator.

Karras et al. 2020 (arXiv 1912.04958) in plain PyTorch, with mask conditioning at three named points.
"""
