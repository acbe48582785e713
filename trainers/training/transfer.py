"""Copies from the CPU to a GPU that nobody waits for."""

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor``, which lies on the CPU, on a device.

    A copy out of pageable memory makes the CPU wait for all work of the GPU before it. One out of pinned memory is
    queued like a kernel, and torch keeps the memory until it is done.
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
