"""``medsweep launch`` for Slurm: the script runs with recorded srun, scontrol and ray."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.launching import NASTY, launched, only, program, rendered
from medsweep.sweep.file import Resources

SRUN = 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"'
SCONTROL = 'echo "$@" >> "$RECORD/scontrol"; if [ "$1" = show ]; then echo node7; echo node8; fi'
RAY = """printf '%s\\0' "$@" > "$RECORD/ray"; env > "$RECORD/env"
while [ "$1" != -- ]; do shift; done; shift; "$@"; exit $?"""
MEDSWEEP = """printf '%s\\0' "$@" > "$RECORD/medsweep"
trap 'echo USR1 > "$RECORD/signal"; exit 130' USR1
touch "$RECORD/ready"; if [ -n "${ENDS:-}" ]; then exit "$ENDS"; fi
for i in $(seq 12000); do sleep 0.05; done"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a job's shell, with programs that write down how they were called."""
    for name, body in {"srun": SRUN, "scontrol": SCONTROL, "ray": RAY, "medsweep": MEDSWEEP}.items():
        program(tmp_path / "bin", name, body)
    (tmp_path / "record").mkdir()
    token = tmp_path / NASTY / "token"
    token.parent.mkdir()
    token.write_text("0" * 64)
    token.chmod(0o600)
    return {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "RECORD": f"{tmp_path}/record",
        "HOME": str(tmp_path),
        "SLURM_JOB_ID": str(7_000_000 + os.getpid()),
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_NUM_NODES": "2",
    }


def script_of(tmp_path: Path, **given: Any) -> Path:
    path = tmp_path / "slurm.sbatch"
    token = str(tmp_path / NASTY / "token")
    gan = {"gan": Resources(gpus=1)}
    sweep = launched(path=Path(NASTY) / "x y.yaml", resources=gan)
    path.write_text(only(rendered("slurm", sweep, store=f"/s {NASTY}", token_file=token, **given)))
    subprocess.run(["bash", "-n", path], check=True)
    return path


def words(cluster: dict[str, str], name: str) -> list[str]:
    return (Path(cluster["RECORD"]) / name).read_text().split("\0")[:-1]


def warned(script: Path, cluster: dict[str, str]) -> int:
    """Start the script, warn its shell alone as Slurm does once the driver is up, and wait for its end."""
    with subprocess.Popen(["bash", script], env=cluster) as shell:
        ready = Path(cluster["RECORD"]) / "ready"
        while not ready.exists() and shell.poll() is None:
            time.sleep(0.02)
        shell.send_signal(signal.SIGUSR1)
        return shell.wait()


def test_slurm_runs_the_driver_with_names_as_they_are(tmp_path: Path, cluster: dict[str, str]) -> None:
    script = script_of(tmp_path, nodes=2, cpus=8, gpus=2, env=(f"PLACE={NASTY}",), setup=("export LOADED=yes",))
    assert subprocess.run(["bash", script], env={**cluster, "ENDS": "3"}, check=False).returncode == 3
    port = 20000 + int(cluster["SLURM_JOB_ID"]) % 10000
    name = f"{NASTY}/x y.yaml"
    assert words(cluster, "medsweep") == ["run", name, "--store", f"/s {NASTY}", "--yes", "--address", f"node7:{port}"]
    assert "requeue" not in (tmp_path / "record" / "scontrol").read_text()
    seen = (tmp_path / "record" / "env").read_text().splitlines()
    assert {f"PLACE={NASTY}", "LOADED=yes", "RAY_AUTH_MODE=token"} <= set(seen)
    assert f"MEDSWEEP_CACHE=/tmp/r{cluster['SLURM_JOB_ID']}" in seen
    assert f"RAY_AUTH_TOKEN_PATH={tmp_path}/{NASTY}/token" in seen
    assert not Path(f"/tmp/r{cluster['SLURM_JOB_ID']}").exists()
    assert {"#SBATCH --gpus-per-node=2", "#SBATCH --requeue", "#SBATCH --signal=B:USR1@180"} <= set(
        script.read_text().splitlines()
    )


@pytest.mark.parametrize(
    ("given", "shell", "folder"),
    [
        ({}, {"SLURM_TMPDIR": "/local/x y"}, "/local/x y"),
        ({"env": ("MEDSWEEP_CACHE=/nvme",)}, {"SLURM_TMPDIR": "/local"}, "/nvme"),
        ({}, {"SLURM_TMPDIR": "/local", "MEDSWEEP_CACHE": ""}, ""),
    ],
)
def test_slurm_keeps_copies_on_the_nodes_own_disk_unless_told_otherwise(
    tmp_path: Path, cluster: dict[str, str], given: dict[str, Any], shell: dict[str, str], folder: str
) -> None:
    subprocess.run(["bash", script_of(tmp_path, **given)], env={**cluster, "ENDS": "0", **shell}, check=True)
    assert f"MEDSWEEP_CACHE={folder}" in (tmp_path / "record" / "env").read_text().splitlines()


def test_slurm_gives_ray_options_that_it_has(tmp_path: Path, cluster: dict[str, str]) -> None:
    from ray.scripts.scripts import start
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args, symmetric_run

    script = script_of(tmp_path, nodes=2, cpus=8, gpus=2)
    subprocess.run(["bash", script], env={**cluster, "ENDS": "0"}, check=True)
    said = words(cluster, "ray")
    assert said[0] == "symmetric-run"
    before = said[1 : said.index("--")]
    context = symmetric_run.make_context("ray", list(before))
    assert context.params["min_nodes"] == 2
    assert context.params["address"].startswith("node7:2")
    started = start.make_context("start", ["--address=x", *curate_and_validate_ray_start_args(list(before))]).params
    assert (started["num_cpus"], started["num_gpus"], started["dashboard_host"]) == (8, 2, "127.0.0.1")
    # A session's sockets lie some 70 characters below, and Linux takes 107.
    assert len(started["temp_dir"]) <= 35
    assert started["include_dashboard"] is None, "ray start refuses it on workers"


@pytest.mark.parametrize(("restarts", "again"), [("0", True), ("20", False)])
def test_a_warning_reaches_the_driver_and_the_job_queues_again(
    tmp_path: Path, cluster: dict[str, str], restarts: str, again: bool
) -> None:
    assert warned(script_of(tmp_path), {**cluster, "SLURM_RESTART_COUNT": restarts}) == 130
    assert (tmp_path / "record" / "signal").read_text() == "USR1\n"
    asked = (tmp_path / "record" / "scontrol").read_text().splitlines()
    assert (f"requeue {cluster['SLURM_JOB_ID']}" in asked) is again


@pytest.mark.parametrize(("mode", "said"), [(0o644, "chmod 600"), (None, "ray get-auth-token --generate")])
def test_slurm_wants_a_token_of_ones_own(tmp_path: Path, cluster: dict[str, str], mode: int | None, said: str) -> None:
    token = tmp_path / NASTY / "token"
    token.chmod(mode) if mode else token.unlink()
    ended = subprocess.run(["bash", script_of(tmp_path)], env=cluster, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert not (tmp_path / "record" / "ray").exists()


@pytest.mark.parametrize("owner", ["other", "link", "file"])
def test_a_scratch_folder_that_is_not_ones_own_is_refused_by_name(
    tmp_path: Path, cluster: dict[str, str], owner: str
) -> None:
    scratch = tmp_path / "s" / f"r{cluster['SLURM_JOB_ID']}"
    scratch.parent.mkdir()
    if owner == "link":
        scratch.symlink_to(tmp_path)
    elif owner == "file":
        scratch.touch()
    else:
        scratch.mkdir()
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(scratch, 65534, 65534)
    script = script_of(tmp_path)
    text = script.read_text()
    assert "scratch=/tmp/r" in text.replace('"', "")
    script.write_text(text.replace("scratch=/tmp", f"scratch={scratch.parent}"))
    ended = subprocess.run(["bash", script], env=cluster, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert f"no scratch folder {scratch} (it belongs to " in ended.stderr
    assert "choose another place with --scratch" in ended.stderr
    assert not (tmp_path / "record" / "ray").exists()
