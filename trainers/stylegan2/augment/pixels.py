"""Moving whole pixels: exact, linear and twice differentiable."""

from torch import Tensor


def take(x_NCRR: Tensor, row_NRR: Tensor, column_NRR: Tensor) -> tuple[Tensor, Tensor]:
    """Let each pixel show the value that ``x`` has at a given row and column, in all channels alike.

    Returns the result (N, C, R, R), which is meaningless where the source lies outside, and (N, 1, R, R): whether it
    lies inside. A gather, unlike a product with a 0/1 matrix, is exact with TF32 or bfloat16 products too, and the
    backward pass adds at most one number other than zero per pixel, so its order does not matter.
    """
    C, R = x_NCRR.shape[1], x_NCRR.shape[-1]
    inside_NRR = (row_NRR >= 0) & (row_NRR < R) & (column_NRR >= 0) & (column_NRR < R)
    source_NRR = row_NRR.clamp(0, R - 1) * R + column_NRR.clamp(0, R - 1)
    source_NCP = source_NRR.flatten(1)[:, None].expand(-1, C, -1)
    return x_NCRR.flatten(2).gather(2, source_NCP).view_as(x_NCRR), inside_NRR[:, None]
