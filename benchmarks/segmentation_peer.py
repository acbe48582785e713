"""The plain side of the segmentation benchmarks: the training loop of MONAI's tutorials."""

import math
from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.transforms import Compose, EnsureTyped, RandAffined, RandFlipd
from torch import nn


def monai_steps(
    model: nn.Module,
    images: np.ndarray,
    masks: np.ndarray,
    *,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    device: str = "cpu",
    workers: int = 0,
) -> Iterator[None]:
    """Steps of the tutorials' loop: flips, rotations and shifts per sample, Dice and cross-entropy, AdamW.

    On a GPU it trains in float16 under autocast with scaled gradients, and memory is pinned.
    """
    keys, side = ("image", "label"), images.shape[-1]
    transforms = Compose(
        [
            EnsureTyped(keys),
            RandFlipd(keys, prob=0.5, spatial_axis=1),
            RandAffined(
                keys,
                prob=1.0,
                rotate_range=math.radians(15),
                translate_range=(0.1 * side, 0.1 * side),
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
        ]
    )
    items = [{"image": image, "label": mask[None]} for image, mask in zip(images, masks, strict=True)]
    on_gpu = device.startswith("cuda")
    loader = DataLoader(
        CacheDataset(items, transforms, progress=False),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=on_gpu,
        drop_last=True,
    )
    model = model.to(device).train()
    loss_function = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    scaler = torch.amp.GradScaler("cuda", enabled=on_gpu)
    total = 0.0
    while True:
        for item in loader:
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.float16) if on_gpu else nullcontext():
                loss = loss_function(model(item["image"].to(device)), item["label"].to(device))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss.item()
            yield
