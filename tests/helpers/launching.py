"""A sweep to launch, its rendered files, and stand-ins for the programs that take them."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from medsweep.launch.options import Target, options_of
from medsweep.launch.render import LaunchedSweep, Rendered, read_launched, render
from medsweep.study.stages import SCHEMA
from medsweep.sweep.file import Resources

ROOT = Path(__file__).parents[2]
QUICKSTART = Path("sweeps/quickstart.yaml")
NASTY = 'it\'s a "$HOME" `id`; a\\b'


def launched(**changes: Any) -> LaunchedSweep:
    one = read_launched(ROOT / QUICKSTART, SCHEMA)
    return LaunchedSweep(**{**vars(one), "path": QUICKSTART, **changes})


def rendered(target: str, sweep: LaunchedSweep | None = None, **given: Any) -> Rendered:
    return render(sweep or launched(), options_of(Target(target), given))


WITH_GPU = launched(resources={"gan": Resources(cpus=2, gpus=1, memory_gib=10), "segment": Resources(gpus=0.5)})


def documents(text: str) -> list[Any]:
    return list(YAML(typ="safe").load_all(text))


def only(files: Rendered) -> str:
    (text,) = files.files.values()
    return text


def every_rayjob() -> list[Any]:
    """RayJobs that have between them every field that an option can bring."""
    with_gpu = launched(resources={"gan": Resources(cpus=2, gpus=1, memory_gib=10), "score": Resources(cpus=3)})
    options = {
        "cpu_nodes": 2, "queue": "gpus", "pull_secret": "registry", "user_id": 1000, "env": ("A=$B",),
        "node_selector": ("spot=true",), "toleration": ("spot", "pool=cheap"), "hours": 1.5,
    }  # fmt: skip
    bucket = {"store": "s3://hospital/sweeps", "service_account": "sweeps"}
    texts = [only(rendered("kuberay")), only(rendered("kuberay", with_gpu, **options))]
    texts += [only(rendered("kuberay", **bucket))]
    return [documents(text)[1] for text in texts]


def program(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)
