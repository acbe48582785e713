"""How float32 products of matrices and convolutions are rounded on a GPU.

Torch has an older and a newer way to say so, and reading the older raises once the newer was used. Only the older is
used here: all versions of torch from 2.6 on know it, and torch itself still reads it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def rounding(*, tf32: bool) -> Iterator[None]:
    """Products in TensorFloat-32, with 10 bits of mantissa, or in float32, for a while; restored whatever happens."""
    cudnn = torch.backends.cudnn
    matmul, convolutions = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        cudnn.allow_tf32 = tf32
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        cudnn.allow_tf32 = convolutions


@contextmanager
def exact() -> Iterator[None]:
    """Float32 as on a CPU, for all that is published or measured; torch itself rounds convolutions on a GPU to TF32.

    Also a decorator of functions. It may stand inside a training, which goes on as it was afterwards.
    """
    with rounding(tf32=False):
        yield
