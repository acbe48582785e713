"""What was predicted before anything ran on a GPU: by operation counts and a roofline, for one H200."""

from typing import Any, Final

RATES: Final = {
    "copy GB/s": "4,300 GB/s",
    "bf16": "790 TFLOP/s",
    "tf32": "350 to 450 TFLOP/s",
    "launch": "6 to 10 us of the host",
}

GAN: Final[dict[str, dict[str, Any]]] = {
    "64 px b32": {
        "GFLOP per image (in bf16 blocks)": "205 (186)",
        "GB moved per image": 1.28,
        "launches": 2000,
        "GPU s/kimg": 0.9,
        "GPU s/kimg, slow depthwise kernels": 1.1,
        "host s/kimg": "0.4 to 0.6",
        "compiled main phases s/kimg": 0.65,
        "arithmetic alone s/kimg": 0.26,
        "investigate above s/kimg": 3.0,
    },
    "128 px b32": {
        "GFLOP per image (in bf16 blocks)": "303 (272)",
        "GB moved per image": 2.65,
        "launches": 2320,
        "GPU s/kimg": 1.4,
        "GPU s/kimg, slow depthwise kernels": 1.9,
        "host s/kimg": "0.4 to 0.7",
        "compiled main phases s/kimg": 1.0,
        "arithmetic alone s/kimg": 0.38,
        "investigate above s/kimg": 4.0,
    },
    "256 px b16": {
        "GFLOP per image (in bf16 blocks)": "402 (344)",
        "GB moved per image": 5.63,
        "launches": 2630,
        "GPU s/kimg": 2.5,
        "GPU s/kimg, slow depthwise kernels": 3.4,
        "host s/kimg": "1.0 to 1.6",
        "compiled main phases s/kimg": 1.6,
        "arithmetic alone s/kimg": 0.51,
        "investigate above s/kimg": 8.0,
    },
    "64 px tiny b8": {
        "GFLOP per image (in bf16 blocks)": "0.3",
        "GB moved per image": 0.04,
        "launches": 1655,
        "GPU s/kimg": 0.4,
        "GPU s/kimg, slow depthwise kernels": 0.4,
        "host s/kimg": "1.2 to 2.1",
        "compiled main phases s/kimg": "0.15 (graph)",
        "arithmetic alone s/kimg": "",
        "investigate above s/kimg": 4.0,
    },
}
"""By the name of the GAN."""

CHECKPOINT: Final = "640 to 660 MB for the preset auto"
UNET: Final = {
    "as it is": "3 to 5 ms per step",
    "CUDA graph": "1.2 to 2 ms per step",
    "score": "1.2 s of resizing per patient and 0.24 s per structure on one CPU core",
}
SHARE: Final = {
    "tiny": {1: "1", 2: "1.9", 4: "3", 8: "4"},
    "unet": {1: "1"},
    "gan": {1: "1", 2: "1.0 to 1.1"},
}
"""Images per second of n processes over those of one."""
GRAPH: Final = {"64 px tiny b8": "3 to 4 times eager"}
