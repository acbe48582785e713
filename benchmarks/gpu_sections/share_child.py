"""A process of the section ``share``: takes orders as JSON lines, trains with its share of the device, and counts."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from gpu_sections import gan_product, unet_product
from gpu_sections.sizes import SMALL
from gpu_sections.timing import synchronise
from medsweep.execution.gpu_memory import Gpu

WARM_UPS = 3
Step = Callable[[], object]


def make(work: str, device: str, toy: bool) -> tuple[Step, int]:
    """A step of what is trained, and the images of a batch."""
    if work == "unet":
        side, batch = (32, 4) if toy else (256, 16)
        unet = unet_product.UNet(unet_product.config_of(side, batch_size=batch), device, 4 * batch)
        return unet.step, batch
    resolution = 16 if toy else {"tiny": 64, "gan": 256}[work]
    settings: dict[str, Any] = SMALL if toy else {"preset": "tiny"} if work == "tiny" else {}
    gan = gan_product.Gan(gan_product.config_of("b-sg", resolution, **settings), gan_product.plan(device, resolution))
    number = iter(range(1, 10**9))
    return (lambda: gan.step(next(number))), gan.config.batch_size


def count(step: Step, begin: float, end: float, device: str) -> float:
    """Steps per second between two times of the clock that all processes share; before the first, steps warm up."""
    while time.monotonic() < begin:
        step()
    synchronise(device)
    begun, steps = time.monotonic(), 0
    while steps == 0 or time.monotonic() < end:
        step()
        steps += 1
    synchronise(device)
    return steps / (time.monotonic() - begun)


def answer(order: dict[str, Any], state: dict[str, Any], device: str, toy: bool) -> dict[str, Any]:
    """Do one order."""
    if "prepare" in order:
        state.clear()
        if device.startswith("cuda"):
            Gpu().release()
            Gpu().begin(order["share"])
        state["step"], state["batch"] = make(order["prepare"], device, toy)
        for _ in range(WARM_UPS):
            state["step"]()
        synchronise(device)
        return {"prepared": True}
    rate = count(state["step"], order["count"]["begin"], order["count"]["end"], device)
    return {"images_per_s": rate * state["batch"]}


def main() -> None:
    """Answer until nothing more is asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    stream = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(1)
    state: dict[str, Any] = {}
    stream.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        try:
            said = answer(json.loads(line), state, options.device, options.toy)
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        stream.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
