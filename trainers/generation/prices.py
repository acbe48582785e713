"""What hours of generators are counted with before any of their kind has been timed."""

from typing import Final

CPU_FLOPS: Final = 40e9
"""Floating-point operations per second that one modern CPU core sustains in convolutions of this size."""

GPU_FLOPS: Final = 200e12
"""Floating-point operations per second of a whole training on one H200, most of them in bfloat16.

Predicted by roofline for 128 and 256 px: what bounds a layer is its arithmetic or the bytes that it moves. To be
replaced by what ``benchmarks/gpu.py`` measures.
"""

NOMINAL_MODALITIES: Final = 4
NOMINAL_CLASSES: Final = 4
"""Stand in for the data's own numbers, which enter only the first and last layers."""
