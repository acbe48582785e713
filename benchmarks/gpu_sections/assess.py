"""Section 8: a pool and its metrics on the GPU against the CPU, and whether the same pool comes out twice."""

import time
from typing import Any

import numpy as np

from gpu_sections.pool_product import Judged, digest, generator, judge, pool, products, segmenter
from gpu_sections.processes import Process
from gpu_sections.report import Report

LIMITS = {"images": 1e-3, "features": 1e-4, "classes": 1e-4, "frechet": 1e-3, "kid": 1e-3, "iou_mean": 1e-3}
"""With exact products; relative, but the share of pixels whose class changes."""


NARROW, TOY = ({"channel_base": base, "channel_max": width} for base, width in ((2048, 128), (256, 16)))
"""Networks for which a CPU needs seconds, and less."""


def size(toy: bool) -> tuple[int, int, int]:
    """Resolution, samples, samples of the smaller pool."""
    return (16, 32, 20) if toy else (64, 512, 50)


def narrow(device: str, toy: bool) -> Any:
    """The generator of the pools that are compared."""
    return generator(device, size(toy)[0], **(TOY if toy else NARROW))


def run(report: Report) -> None:
    """Against the CPU, with exact products and with TF32; then against itself."""
    _, count, _ = size(report.toy)
    with report.part("against the CPU"):
        with products(True):
            reference = judged("cpu", count, report.toy)
        for precise in (True, False):
            with products(precise):
                found = judged(report.device, count, report.toy)
            for name, value in differences(reference, found).items():
                setting = {"what": name, "products": "exact" if precise else "TF32"}
                report.row("assess", setting, relative=value)
                if precise:
                    report.check(f"assess/{name}", value, LIMITS[name])
    with report.part("the same pool twice"):
        twice(report)
    with report.part("speed"):
        speed(report)


def judged(device: str, count: int, toy: bool) -> Judged:
    """A pool made and judged on one device."""
    images, masks = pool(narrow(device, toy), count)
    return judge(segmenter(device, toy), images, masks)


def differences(reference: Judged, found: Judged) -> dict[str, float]:
    """How far two pools and their metrics are apart."""
    apart = {
        name: float(np.abs(one - other).max() / np.abs(one).max())
        for name, one, other in (
            ("images", reference.images, found.images),
            ("features", reference.features, found.features),
        )
    }
    apart["classes"] = float(np.mean(reference.classes != found.classes))
    for name, value in reference.metrics.items():
        apart[name] = abs(found.metrics[name] - value) / max(abs(value), 1e-12)
    return apart


def twice(report: Report) -> None:
    """Equal to the bit within a process, between processes, and as the head of a larger pool?"""
    _, count, fewer = size(report.toy)
    first = own_digest(report.device, report.toy, count)
    other = Process(
        "gpu_sections.assess_again",
        [report.device, str(count), *(["--toy"] if report.toy else [])],
        forks=not report.on_gpu,
    )
    with products(True):
        sampler = narrow(report.device, report.toy)
        large, small = pool(sampler, count), pool(sampler, fewer)
    elsewhere = other.stdout.readline().strip()
    if not elsewhere:
        raise RuntimeError(f"the other process died: {other.last_words()}")
    other.end()
    head = digest((large[0][:fewer], large[1][:fewer]))
    for name, equal in {
        "twice in one process": first == digest(large),
        "in two processes": first == elsewhere,
        f"first {fewer} of {count} as a pool of {fewer}": head == digest(small),
    }.items():
        report.row("pool", {"samples": count, "question": name}, equal=equal)
        report.check(f"assess/{name}", float(not equal), 0)


def speed(report: Report) -> None:
    """Seconds per slice of a pool from one generator of the default width."""
    resolution, count = (16, 16) if report.toy else (256, 64)
    sampler = generator(report.device, resolution, **(TOY if report.toy else {}))
    pool(sampler, 1)
    begun = time.perf_counter()
    pool(sampler, count)
    seconds = (time.perf_counter() - begun) / count
    report.row("synthesise", {"resolution": resolution, "samples": count}, seconds_per_slice=seconds)


def own_digest(device: str, toy: bool, count: int) -> str:
    """Of a pool that is made here and now."""
    with products(True):
        return digest(pool(narrow(device, toy), count))
