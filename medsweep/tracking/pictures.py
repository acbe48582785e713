"""Brings files of a run to W&B that its reports name and that never arrived: pictures, tables and pages.

W&B's client sends reports and files on two ways, often to two hosts. A report can be there without its picture, and the
client says of such a run that it finished (wandb 0.31).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from medsweep.tracking.mirrored_run import MirroredRun
from medsweep.tracking.mode import ask, base_url, put

MOST: Final = 200
"""Files that are asked for at a time."""

FILES: Final = (
    "query Files($entity: String, $project: String!, $run: String!, $names: [String], $most: Int) "
    "{ project(name: $project, entityName: $entity) { run(name: $run) "
    "{ files(names: $names, first: $most) { edges { node { name sizeBytes } } } } } }"
)
CREATE: Final = (
    "mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) "
    "{ createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) "
    "{ runID uploadHeaders files { name uploadUrl } } }"
)


def files_of(file: Path) -> dict[str, Path]:
    """Pictures, tables and pages of an offline run by the names that its reports give them; ``file`` is its record."""
    root = file.parent / "files"
    return {path.relative_to(root).as_posix(): path for path in (root / "media").rglob("*") if path.is_file()}


def files_of_first(file: Path, run: MirroredRun, lines: int, told: Mapping[str, Any]) -> dict[str, Path]:
    """Those of the first ``lines`` reports of a run whose summary was ``told``; the last may have lacked pictures."""
    found = files_of(file)
    wanted: dict[str, Path] = {}
    for number, row in enumerate(run.rows[:lines]):
        for name, picture in row.pictures.items():
            path = f"media/images/{run.job_type}/{name}_{number}_{picture.sha256[:20]}.png"
            if path in found and (number < lines - 1 or f"{run.job_type}/{name}" in told):
                wanted[path] = found[path]
    return wanted


def bring(files: Mapping[str, Path], entity: str, project: str, run: str) -> int:
    """Send those of ``files`` that are not at W&B, and return how many.

    Raises:
        OSError, ValueError, http.client.HTTPException: the server refuses, or says nothing that can be read.
    """
    place = {"entity": entity, "project": project, "run": run}
    names = list(files)
    lost: list[str] = []
    for start in range(0, len(names), MOST):
        some = names[start : start + MOST]
        there = (ask(FILES, place | {"names": some, "most": len(some)}).get("project") or {}).get("run") or {}
        nodes = [edge["node"] for edge in (there.get("files") or {}).get("edges", [])]
        sizes = {node["name"]: int(node.get("sizeBytes") or 0) for node in nodes}
        lost += [name for name in some if sizes.get(name) != files[name].stat().st_size]
    for start in range(0, len(lost), MOST):
        asked = place | {"files": lost[start : start + MOST]}
        answer = ask(CREATE, asked).get("createRunFiles") or {}
        addresses = {one["name"]: str(one["uploadUrl"]) for one in answer.get("files") or ()}
        for name in asked["files"]:
            address = addresses.get(name, "")
            whole = base_url() + address if address.startswith("/") else address
            put(whole, files[name].read_bytes(), answer.get("uploadHeaders") or ())
    return len(lost)
