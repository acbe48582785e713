"""Section 1: what the machine is, and how fast it copies, multiplies and launches."""

import os
import platform
import re
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from gpu_sections.predictions import RATES
from gpu_sections.report import Report
from gpu_sections.timing import profiled, switched, timed

PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyarrow", "monai", "nibabel", "pydantic", "safetensors", "triton")
LAUNCHES = 1000
ASKED = "name,driver_version,memory.total,compute_mode,mig.mode.current,clocks.max.sm,power.limit"


def run(report: Report) -> None:
    """Facts first, then rates."""
    tell_versions(report)
    with report.part("the device"):
        tell_device(report)
    with report.part("copies"):
        copies(report)
    with report.part("products"):
        products(report)
    with report.part("launches"):
        launches(report)


def tell_versions(report: Report) -> None:
    """Packages, Python and the processor."""
    for package in PACKAGES:
        try:
            report.fact(package, version(package))
        except PackageNotFoundError:
            report.fact(package, "not there")
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    report.fact("python", platform.python_version())
    report.fact("processor", model[1].strip() if model else platform.machine())
    report.fact("cores", os.cpu_count())


def tell_device(report: Report) -> None:
    """The GPU, its driver, and torch's defaults."""
    cudnn = torch.backends.cudnn
    report.fact("cudnn.allow_tf32 by default", cudnn.allow_tf32)
    report.fact("cudnn.benchmark by default", cudnn.benchmark)
    report.fact("matmul precision by default", torch.get_float32_matmul_precision())
    if not report.on_gpu:
        report.needs_cuda("device")
        return
    device = torch.cuda.get_device_properties(0)
    report.fact("gpu", device.name)
    report.fact("multiprocessors", device.multi_processor_count)
    report.fact("memory MiB", device.total_memory // 2**20)
    report.fact("cuda", torch.version.cuda)
    report.fact("cudnn", cudnn.version())
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
        report.fact(f"nvidia-smi {ASKED}", said)


def copies(report: Report) -> None:
    """Bandwidth of a copy within the device, what is read and what is written counted."""
    gib = 2**23 / 2**30 if report.toy else 8.0
    source = torch.randn(int(gib * 2**28), device=report.device)
    target = torch.empty_like(source)
    time_ms = timed(lambda: target.copy_(source), report.device, seconds=0.0 if report.toy else 0.3, most=10)
    rate = 2 * gib * 2**30 / time_ms.median / 1e6
    report.fact("copy GB/s", round(rate, 1))
    report.row("copy", {"GiB": gib}, ms=time_ms.ms, gb_per_s=rate, predicted=RATES["copy GB/s"])


def products(report: Report) -> None:
    """Arithmetic of large products, in bfloat16 and in TF32."""
    side = 256 if report.toy else 8192
    for name, dtype in (("bf16", torch.bfloat16), ("tf32", torch.float32)):
        a, b = (torch.randn(side, side, device=report.device).to(dtype) for _ in range(2))
        with switched(tf32=True):
            time_ms = timed(lambda a=a, b=b: a @ b, report.device, seconds=0.0 if report.toy else 0.3, most=20)
        rate = 2 * side**3 / time_ms.median / 1e9
        report.fact(f"{name} TFLOP/s", round(rate, 1))
        report.row("product", {"side": side, "type": name}, ms=time_ms.ms, tflop_per_s=rate, predicted=RATES[name])


def launches(report: Report) -> None:
    """What one small kernel costs the host and the device."""
    x, count = torch.zeros(32, device=report.device), 100 if report.toy else LAUNCHES

    def many() -> None:
        for _ in range(count):
            x.add_(1)

    many()
    if report.on_gpu:
        torch.cuda.synchronize()
    begun = time.perf_counter()
    many()
    host_us = (time.perf_counter() - begun) * 1e6 / count
    if report.on_gpu:
        torch.cuda.synchronize()
    back_to_back_us = timed(many, report.device, most=3).median * 1e3 / count
    kernel_us = profiled(many, report.device).busy_ms * 1e3 / count
    report.fact("host us per launch", round(host_us, 2))
    measured = {"host_us": host_us, "back_to_back_us": back_to_back_us, "kernel_us": kernel_us}
    report.row("launch", {"kernels": count}, **measured, predicted=RATES["launch"])
