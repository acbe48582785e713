"""``medsweep launch``: what its files say to Ray's validators; the sizes of nodes, the command, what it refuses."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from helpers.launching import NASTY, QUICKSTART, ROOT, WITH_GPU, documents, launched, only, program, rendered
from medsweep.cli import app
from medsweep.errors import UserError
from medsweep.launch.nodes import node_size
from medsweep.launch.options import Slurm, Target
from medsweep.sweep.file import Resources

EXAMPLES = ROOT / "sweeps" / "clusters"


def command(*words: str) -> Result:
    return CliRunner().invoke(app, ["launch", *words])


@pytest.mark.parametrize("target", list(Target))
def test_the_examples_are_fresh_renderings(target: Target) -> None:
    for name, text in rendered(target.value).files.items():
        kept = EXAMPLES / name.replace(".yaml", ".yml")
        assert kept.read_text() == text, (
            f"medsweep launch {QUICKSTART} --target {target} has changed; render {kept} anew"
        )


# Ray jobs.


def test_rays_own_command_takes_the_job(tmp_path: Path) -> None:
    from ray.dashboard.modules.job.cli import submit as ray_submit

    files = rendered("job", launched(path=Path(NASTY) / "x y.yaml"), token_file=NASTY).files
    script = tmp_path / NASTY / "job.sh"
    script.parent.mkdir()
    script.write_text(files["job.sh"])
    program(tmp_path / "bin", "ray", 'printf "%s\\0" "$RAY_AUTH_MODE" "$RAY_AUTH_TOKEN_PATH" "$@" > "$RECORD"')
    record = tmp_path / "record"
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "RECORD": str(record), "HOME": str(tmp_path)}
    subprocess.run(["sh", script], env=env, check=True)
    mode, token, *said = record.read_text().split("\0")[:-1]
    assert (mode, token, said[:2]) == ("token", NASTY, ["job", "submit"])
    given = ray_submit.make_context("submit", said[2:]).params
    assert given["address"] == "http://127.0.0.1:8265"
    assert given["runtime_env"] == str(script.parent / "runtime_env.yaml")
    assert given["submission_id"].startswith("medsweep-quickstart-2")
    assert given["entrypoint"][:4] == ("medsweep", "run", f"{NASTY}/x y.yaml", "--store")
    # Ray joins the words for a shell of its own.
    assert shlex.split(shlex.join(given["entrypoint"])) == list(given["entrypoint"])


def test_ray_takes_the_runtime_env_and_ships_the_code(tmp_path: Path) -> None:
    from pip._internal.network.session import PipSession
    from pip._internal.req.req_file import parse_requirements
    from ray._private.runtime_env.packaging import _get_excludes
    from ray.runtime_env import RuntimeEnv

    (read,) = documents(rendered("job", env=(f"MEDSWEEP_DATA={NASTY}",)).files["runtime_env.yaml"])
    checked = RuntimeEnv(**{**read, "working_dir": str(ROOT)})
    assert checked.env_vars() == {"MEDSWEEP_CACHE": "/tmp", "MEDSWEEP_DATA": NASTY}
    left_out = _get_excludes(ROOT, read["excludes"])
    for name in ("medsweep/data/folds.py", "medsweep/launch/render.py", "constraints.txt", "sweeps/quickstart.yaml"):
        assert not left_out(ROOT / name), name
    for name in ("store/gan/a", ".venv/bin/python", "data/brats20/a.nii.gz", "launch/x/job/job.sh", "wandb/run"):
        assert left_out(ROOT / name), name
    asked = tmp_path / "requirements.txt"
    asked.write_text("\n".join(checked.pip_config()["packages"]))
    os.environ["RAY_RUNTIME_ENV_CREATE_WORKING_DIR"] = str(ROOT)
    try:
        lines = list(parse_requirements(str(asked), PipSession()))
    finally:
        del os.environ["RAY_RUNTIME_ENV_CREATE_WORKING_DIR"]
    assert str(ROOT) in {line.requirement for line in lines if not line.constraint}
    assert any(line.constraint and line.requirement.startswith("ray==") for line in lines)


# Ray's cluster launcher.

PROVIDERS: dict[str, dict[str, Any]] = {
    "aws": {"nodes": 3},
    "gcp": {"project": "study-1", "cpus": 16, "gpus": 0, "machine": "n2-standard-16"},
    "local": {"head": "10.0.0.1", "workers": ("10.0.0.2", "10.0.0.3")},
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_rays_own_validator_takes_the_cluster(provider: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    given = {**PROVIDERS[provider], "setup": (f"echo {NASTY}",), "env": (f"A={NASTY}",), "token_file": NASTY}
    files = rendered("up", provider=provider, **given)
    (read,) = documents(only(files))
    full = prepare_config(read)
    validate_config(full)
    assert full["max_workers"] == {"aws": 3, "gcp": 1, "local": 2}[provider]
    assert full["file_mounts"]["~/.ray/auth_token"] == NASTY
    assert f"echo {NASTY}" in full["setup_commands"]
    for start in (full["head_start_ray_commands"][-1], full["worker_start_ray_commands"][-1]):
        assert shlex.split(start[: start.index("; ulimit")]) == [
            "export", "RAY_AUTH_MODE=token", "MEDSWEEP_CACHE=/tmp", f"A={NASTY}",
        ]  # fmt: skip
    assert "--dashboard-host=127.0.0.1" in full["head_start_ray_commands"][-1]
    assert "0.0.0.0" not in str(full["head_start_ray_commands"])
    assert shlex.split(files.then[-1])[-6:] == [
        "--results", "/mnt/medsweep/results/quickstart", "--address", "auto", "--wait-for-nodes", "30",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "given", "market"),
    [
        ("aws", {"machine": "g5.2xlarge"}, ("InstanceMarketOptions", {"MarketType": "spot"})),
        (
            "gcp",
            {"machine": "g2-standard-8", "project": "p", "image": "i"},
            ("scheduling", [{"onHostMaintenance": "TERMINATE", "provisioningModel": "SPOT",
                             "instanceTerminationAction": "DELETE"}]),
        ),
    ],
)  # fmt: skip
def test_workers_are_spot_machines_of_two_kinds_and_the_head_is_none(
    provider: str, given: dict[str, Any], market: tuple[str, Any]
) -> None:
    (read,) = documents(only(rendered("up", WITH_GPU, provider=provider, cpu_nodes=3, nodes=2, spot=True, **given)))
    kinds = read["available_node_types"]
    assert {name: kind.get("max_workers") for name, kind in kinds.items()} == {
        "head": None, "worker": 2, "cpu-worker": 3,
    }  # fmt: skip
    assert read["max_workers"] == 5
    name, value = market
    assert kinds["worker"]["node_config"][name] == value
    assert name in kinds["cpu-worker"]["node_config"]
    assert name not in kinds["head"]["node_config"]
    if provider == "gcp":
        assert kinds["worker"]["resources"] == {"CPU": 2, "GPU": 1, "memory": 10 * 2**30}
        assert kinds["cpu-worker"]["resources"] == {"CPU": 4}
    with pytest.raises(UserError, match="needs --image"):
        rendered("up", WITH_GPU, provider="gcp", project="p")


# Sizes of nodes, the command, refusals.


@pytest.mark.parametrize(
    ("resources", "size"),
    [
        ({}, (4, 0)),
        ({"gan": Resources(cpus=3)}, (12, 0)),
        ({"gan": Resources(cpus=2, gpus=1.0), "segment": Resources(cpus=2, gpus=0.25)}, (8, 1)),
        ({"gan": Resources(cpus=4, gpus=2.0), "prepare": Resources(cpus=6)}, (6, 2)),
    ],
)
def test_a_node_is_as_large_as_the_trials_that_fill_it(resources: dict[str, Resources], size: tuple[int, int]) -> None:
    assert node_size(resources, Slurm()) == size


def test_memory_that_the_sweep_states_reaches_slurm_and_the_pods() -> None:
    sweep = launched(resources={"gan": Resources(cpus=2, memory_gib=10), "segment": Resources(cpus=1)})
    assert "#SBATCH --mem=42G\n" in only(rendered("slurm", sweep, cpus=8))
    _, job = documents(only(rendered("kuberay", sweep, cpus=8)))
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "42Gi"
    assert "--mem" not in only(rendered("slurm"))
    with pytest.raises(UserError, match=r"resources.gan.memory_gib asks for 10, and Ray takes 2; a node would have 11"):
        rendered("slurm", sweep, memory=11)


@pytest.mark.parametrize("target", ["job", "up"])
def test_a_bucket_brings_its_extra_and_has_no_folder_beside_it(target: str) -> None:
    files = rendered(target, store="s3://hospital/sweeps")
    text = "\n".join([*files.files.values(), *(files.then or ())])
    assert "[bucket]" in text
    assert "--store s3://hospital/sweeps" in text
    assert "--results" not in text


def test_the_command_writes_and_says_how_to_submit(tmp_path: Path) -> None:
    told = command(str(QUICKSTART), "--target", "slurm", "--out", f"{tmp_path}/a b", "--nodes", "2", "--env", "A=1")
    assert told.exit_code == 0, told.output
    assert told.output.splitlines() == [
        f"{tmp_path}/a b/slurm.sbatch",
        f"submit: sbatch '{tmp_path}/a b/slurm.sbatch'",
    ]
    text = (tmp_path / "a b" / "slurm.sbatch").read_text()
    assert "\n#SBATCH --nodes=2\n" in text
    assert "\nexport A=1\n" in text


def test_machines_of_a_cloud_are_given_back_by_the_last_command(tmp_path: Path) -> None:
    words = [str(QUICKSTART), "--target", "up", "--out", str(tmp_path), "--store", "s3://bucket/sweeps"]
    told = CliRunner().invoke(app, ["launch", *words], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    last = f"at the end: ray down --yes {tmp_path}/ray-up-aws.yaml  gives the machines back"
    assert told.output.splitlines()[-1].startswith(last), told.output


def test_submit_hands_the_file_to_the_program_and_passes_its_code_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (str(QUICKSTART), "--target", "kuberay", "--out", str(tmp_path), "--submit")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    refused = command(*words)
    assert refused.exit_code == 2
    assert "no program kubectl is on the PATH" in refused.output
    assert (tmp_path / "rayjob.yaml").is_file()
    program(tmp_path / "bin", "kubectl", f'echo "$@" > {tmp_path}/said; exit 7')
    assert command(*words).exit_code == 7
    assert (tmp_path / "said").read_text() == f"apply -f {tmp_path}/rayjob.yaml\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "slurm", "--image", "x"], "--image is for --target kuberay and up, not slurm"),
        (
            ["--target", "kuberay", "--token-file", "x"],
            "--token-file is for --target slurm and job and up, not kuberay",
        ),
        (["--target", "slurm", "--time", "tomorrow"], "--time: "),
        (["--target", "slurm", "--partition", "a b;c"], "--partition: "),
        (["--target", "slurm", "--scratch", "/a/very/long/folder/for/sockets"], "--scratch: "),
        (["--target", "slurm", "--nodes", "0"], "--nodes: "),
        (["--target", "slurm", "--env", "WANDB_API_KEY=hush"], "--env sets a key"),
        (["--target", "slurm", "--setup", "export MY_TOKEN=hush"], "--setup sets a token"),
        (["--target", "slurm", "--env", "LOGIN=" + "hush0" * 8 + " sk-hush" + "x" * 20], "looks like a key"),
        (["--target", "slurm", "--setup", "wandb login " + "0" * 35 + "abcde"], "looks like a key"),
        (
            ["--target", "up", "--setup", "git clone https://ghp_hush" + "x" * 24 + "@github.com/a/b"],
            "looks like a key",
        ),
        (["--target", "slurm", "--time", "05:00"], "is warned 180 s before its end"),
        (["--target", "job", "--env", "=1"], "write NAME=VALUE"),
        (["--target", "job", "--store", "store"], "--store: "),
        (["--target", "job", "--store", "s3://key:hush@a/b"], "--store s3://: give bucket and prefix only"),
        (["--target", "slurm", "--store", "s3://a/../b"], "--store s3://a/../b names no bucket"),
        (["--target", "up", "--store", "ftp://a/b"], "--store ftp://: no store has such a URL"),
        (["--target", "kuberay", "--store", "/mnt/store"], "--store: "),
        (
            ["--target", "kuberay", "--store", "s3://a/b", "--mount", "/m"],
            "--mount is for a claim, and beside a bucket",
        ),
        (["--target", "kuberay", "--bucket-secret", "c"], "--bucket-secret has no meaning with a store on a claim"),
        (["--target", "up", "--provider", "azure"], "--provider: "),
        (["--target", "up", "--provider", "gcp"], "--provider gcp needs --project"),
        (["--target", "up", "--provider", "local", "--head", "a"], "--provider local needs --head HOST and --workers"),
        (["--target", "up", "--region", "x", "--head", "a"], "--head has no meaning with --provider aws"),
        (["--target", "up", "--cpus", "8"], "name its type with --machine"),
        (["--target", "slurm", "--gpus", "4"], "--gpus 4: no stage of this sweep holds a GPU"),
        (["--target", "up", "--cpu-nodes", "1"], "--cpu-nodes: no stage of this sweep holds a GPU"),
        (["--target", "up", "--cpu-machine", "m5.large"], "say how many with --cpu-nodes"),
        (
            ["--target", "up", "--provider", "local", "--head", "a", "--workers", "b", "--spot"],
            "--spot has no meaning with --provider local",
        ),
        (["--target", "kuberay", "--node-selector", "spot"], "write LABEL=VALUE"),
        (["--target", "kuberay", "--spot"], "--spot is for --target up, not kuberay"),
    ],
)
def test_bad_options_are_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    told = command(str(QUICKSTART), *words, "--out", str(tmp_path / "out"))
    assert told.exit_code == 2
    assert said in told.output
    assert len(told.output.strip().splitlines()) == 1
    assert "hush" not in told.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "changes", "said"),
    [
        ("job", {"path": Path("/elsewhere/a.yaml")}, "is not inside this folder"),
        ("up", {"path": Path("../a.yaml")}, "is not inside this folder"),
        ("kuberay", {"folds": "folds.json"}, "replicates.file folds.json does not reach the pods"),
        ("kuberay", {"name": "a" * 39}, "up to 38 characters"),
        ("slurm", {"resources": {"gan": Resources(gpus=2.0)}}, "resources.gan.gpus asks for 2, a node would have 1"),
        ("slurm", {"path": Path("a\nb.yaml")}, "control character"),
        ("kuberay", {"variables": {"DATA": "a.yaml:3"}}, r"a.yaml:3: \$\{DATA\} is not set where the driver runs; add"),
    ],
)
def test_a_sweep_that_would_not_arrive_is_refused(target: str, changes: dict[str, Any], said: str) -> None:
    given = {"gpus": 1} if "resources" in changes else {}
    with pytest.raises(ValueError, match=said):
        rendered(target, launched(**changes), **given)


def test_what_is_wrong_with_the_sweep_is_told_before_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = tmp_path / "a.yaml"
    sweep.write_text(QUICKSTART.read_text() + "resources: {scoer: {cpus: 2}}\n")
    told = command(str(sweep), "--target", "slurm", "--out", str(tmp_path / "out"))
    assert told.exit_code == 2
    assert "resources for 'scoer', which is no stage" in told.output
    assert "'score'" in told.output
    monkeypatch.setenv("QUESTION", "Why?")
    sweep.write_text(re.sub("question: .*", "question: ${QUESTION}", QUICKSTART.read_text()))
    line = 1 + sweep.read_text()[: sweep.read_text().index("${")].count("\n")
    told = command(str(sweep), "--target", "kuberay", "--out", str(tmp_path / "out"))
    assert f"a.yaml:{line}: ${{QUESTION}} is not set where the driver runs; add --env QUESTION=VALUE" in told.output
    told = command(str(sweep), "--target", "kuberay", "--out", str(tmp_path / "out"), "--env", "QUESTION=a")
    assert told.exit_code == 0, told.output
