"""Section 3: a training that was saved and loaded goes on as the one that was not, and may change its device."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gpu_sections.equal import relative
from gpu_sections.gan_product import Gan, plan
from gpu_sections.gan_product import config_of as gan_config
from gpu_sections.report import Report
from gpu_sections.sizes import checked_gan
from gpu_sections.timing import not_repeatable, switched
from gpu_sections.unet_product import UNet
from gpu_sections.unet_product import config_of as unet_config

STEPS = 4
LIMIT = 1e-3
"""Relative difference after four steps under the switches of a trial."""


def run(report: Report) -> None:
    """GAN and U-Net, bound to deterministic algorithms and free; then a change of device."""
    resolution, sizes = checked_gan(report)
    config = gan_config("b-sg", resolution, augment="ada", lecam_weight=1e-6, path_length_weight=2.0, **sizes)
    segment = unet_config(64, batch_size=4, channels=(8, 16, 32), ema_half_life_steps=10)

    def gan(device: str) -> Gan:
        return Gan(config, plan(device, resolution))

    def unet(device: str) -> UNet:
        return UNet(segment, device, 32)

    for name, make in (("gan", gan), ("unet", unet)):
        with report.part(f"{name}, deterministic"):
            bound(report, name, make)
        with report.part(f"{name}, as it is"):
            free(report, name, make)
        with report.part(f"{name}, other device"):
            change_device(report, name, make)


def bound(report: Report, name: str, make: Callable[[str], Any]) -> None:
    """Equal to the bit where nothing may be other than deterministic."""
    with switched(tf32=True, deterministic=True):
        operations = not_repeatable(lambda: steps(make(report.device), 1, 1))
        report.row("resume", {"training": name}, not_deterministic=operations)
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            difference = beside(report, name, make)
        finally:
            torch.use_deterministic_algorithms(before)
    report.check(f"resume/{name}/equal to the bit", difference, 0.0 if not operations else LIMIT)


def free(report: Report, name: str, make: Callable[[str], Any]) -> None:
    """Near enough with the switches of a trial."""
    with switched(tf32=True, benchmark=True):
        report.check(f"resume/{name}/as a trial runs", beside(report, name, make), LIMIT)


def beside(report: Report, name: str, make: Callable[[str], Any]) -> float:
    """Relative difference of the weights of a training that was saved and loaded from one that was not."""
    with tempfile.TemporaryDirectory() as folder:
        went_on, resumed = make(report.device), make(report.device)
        steps(went_on, 1, STEPS)
        went_on.save(Path(folder) / "c")
        resumed.load(Path(folder) / "c")
        steps(went_on, STEPS + 1, 2 * STEPS)
        steps(resumed, STEPS + 1, 2 * STEPS)
    if isinstance(resumed, Gan):
        report.check(f"resume/{name}/moments lie as weights", 1 - resumed.moments_lie_as_weights(), 0)
        pairs = [(one.weights(phase), two.weights(phase)) for one, two in ((went_on, resumed),) for phase in ("G", "D")]
        return max(relative(*pair) for pair in pairs)
    return relative(went_on.weights(), resumed.weights())


def steps(training: Any, first: int, last: int) -> None:
    """Whole steps, by number."""
    for number in range(first, last + 1):
        training.step(number) if isinstance(training, Gan) else training.step()


def change_device(report: Report, name: str, make: Callable[[str], Any]) -> None:
    """From the CPU to the device and back, a step on each."""
    if not report.on_gpu:
        report.needs_cuda("resume", {"training": name, "from": "cpu", "to": "cuda"})
    with tempfile.TemporaryDirectory() as folder:
        last = None
        for number, device in enumerate(("cpu", report.device, "cpu")):
            training = make(device)
            if last is not None:
                training.load(last)
            steps(training, number + 1, number + 1)
            last = Path(folder) / str(number)
            training.save(last)
    report.row("resume", {"training": name, "from": "cpu", "to": f"{report.device}, cpu"}, went=True)
