"""RayJobs of ``medsweep launch``: KubeRay's own schema, reduced to what is written, then what a run depends on."""

import json
import shlex
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from helpers.launching import NASTY, QUICKSTART, ROOT, WITH_GPU, documents, every_rayjob, launched, only, rendered
from medsweep.errors import UserError
from medsweep.sweep.file import Resources


@pytest.mark.parametrize("job", every_rayjob(), ids=["plain", "with every field", "in a bucket"])
def test_the_operators_schema_takes_every_field_of_a_rayjob(job: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests" / "reference" / "rayjob.schema.json").read_text())
    Draft202012Validator(schema).validate(job)
    assert "Apache-2.0" in schema["$comment"]
    group = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    for spoil, said in (
        (lambda: group.update(replica=1), "'replica' was unexpected"),
        (lambda: group.pop("replica") and group.update(replicas="two"), "is not of type 'integer'"),
        (lambda: group.update(replicas=1) or group.pop("template"), "'template' is a required property"),
    ):
        spoil()
        with pytest.raises(ValidationError, match=said):
            Draft202012Validator(schema).validate(job)


def test_a_rayjob_holds_its_sweep_and_no_key() -> None:
    text = only(
        rendered(
            "kuberay", WITH_GPU, nodes=3, cpus=8, gpus=2, hours=1.5, retries=1, env=(f"A={NASTY} $(B)",), queue="gpu"
        )
    )
    kept, job = documents(text)
    assert kept["data"] == {"quickstart.yaml": QUICKSTART.read_text()}
    spec, ray = job["spec"], job["spec"]["rayClusterSpec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"], spec["suspend"]) == (5400, 1, True)
    assert (spec["shutdownAfterJobFinishes"], spec["ttlSecondsAfterFinished"]) == (True, 600)
    assert shlex.split(spec["entrypoint"])[:5] == [
        "medsweep", "run", "/etc/medsweep/quickstart.yaml", "--store", "/mnt/medsweep/store",
    ]  # fmt: skip
    assert ray["authOptions"] == {"mode": "token"}
    assert tuple(map(int, ray["rayVersion"].split(".")[:2])) >= (2, 52)
    assert ray["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    (group,) = ray["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 3
    for pod in (ray["headGroupSpec"]["template"]["spec"], group["template"]["spec"]):
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["sweep"]["configMap"]["name"] == kept["metadata"]["name"]
        env = {one["name"]: one for one in container["env"]}
        assert "value" not in env["WANDB_API_KEY"]
        # Kubernetes turns $$ into $ and $(B) into the value of B.
        assert env["A"]["value"].replace("$$", "$") == f"{NASTY} $(B)"
        assert "$(" not in env["A"]["value"].replace("$$", "")
        assert env["MEDSWEEP_CACHE"]["value"] == "/var/cache/medsweep"
    assert volumes["cache"] == {"name": "cache", "emptyDir": {}}
    assert {"name": "cache", "mountPath": "/var/cache/medsweep"} in container["volumeMounts"]
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2",
    }  # fmt: skip


def test_pods_run_as_a_user_pull_with_a_secret_and_tolerate_gpu_nodes() -> None:
    _, job = documents(only(rendered("kuberay", WITH_GPU, cpus=4, gpus=1, user_id=1000, pull_secret="registry")))
    ray = job["spec"]["rayClusterSpec"]
    head, worker = (part["template"]["spec"] for part in (ray["headGroupSpec"], ray["workerGroupSpecs"][0]))
    for pod in (head, worker):
        assert pod["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
        }  # fmt: skip
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert worker["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "tolerations" not in head
    _, plain = documents(only(rendered("kuberay")))
    assert not {"securityContext", "imagePullSecrets", "tolerations"} & set(
        plain["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    )


def test_workers_run_on_spot_nodes_where_the_cluster_is_told_which_they_are() -> None:
    text = only(
        rendered("kuberay", node_selector=("cloud.google.com/gke-spot=true",), toleration=("spot", "pool=cheap"))
    )
    ray = documents(text)[1]["spec"]["rayClusterSpec"]
    worker = ray["workerGroupSpecs"][0]["template"]["spec"]
    assert worker["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert worker["tolerations"] == [
        {"key": "spot", "operator": "Exists"},
        {"key": "pool", "operator": "Equal", "value": "cheap"},
    ]
    assert not {"nodeSelector", "tolerations"} & set(ray["headGroupSpec"]["template"]["spec"])


def test_stages_without_gpus_have_pods_of_their_own() -> None:
    sweep = launched(resources={**WITH_GPU.resources, "score": Resources(cpus=3, memory_gib=2)})
    _, job = documents(only(rendered("kuberay", sweep, nodes=2, cpu_nodes=5, gpus=2, memory=64)))
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert [(group["groupName"], group["replicas"]) for group in groups] == [("workers", 2), ("cpu-workers", 5)]
    held = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups]
    assert held == [{"cpu": "4", "memory": "64Gi", "nvidia.com/gpu": "2"}, {"cpu": "12", "memory": "48Gi"}]
    assert [("tolerations" in group["template"]["spec"]) for group in groups] == [True, False]


@pytest.mark.parametrize(
    ("scheme", "variable"),
    [("s3", "AWS_SECRET_ACCESS_KEY"), ("s3", "AWS_SESSION_TOKEN"), ("az", "AZURE_STORAGE_ACCOUNT_KEY")],
)
def test_pods_with_a_bucket_mount_no_claim_and_get_its_secret(scheme: str, variable: str) -> None:
    store = f"{scheme}://hospital/sweeps"
    _, job = documents(
        only(rendered("kuberay", store=store, bucket_secret="minio", service_account="sweeps", env=(f"A={NASTY}",)))
    )
    driver = shlex.split(job["spec"]["entrypoint"])
    assert driver[3:5] == ["--store", store]
    assert "--results" not in driver
    ray = job["spec"]["rayClusterSpec"]
    for group in (ray["headGroupSpec"], *ray["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["serviceAccountName"] == "sweeps"
        assert {volume["name"] for volume in pod["volumes"]} == {"sweep", "cache"}
        assert {mount["name"] for mount in container["volumeMounts"]} == {"sweep", "cache"}
        env = {one["name"]: one for one in container["env"]}
        assert env[variable]["valueFrom"]["secretKeyRef"] == {"name": "minio", "optional": True, "key": variable}
        assert env["MEDSWEEP_WORK"]["value"] == "/var/cache/medsweep"


def test_beside_a_bucket_a_named_claim_brings_the_data() -> None:
    _, job = documents(only(rendered("kuberay", store="s3://hospital/sweeps", claim="patients", mount="/data")))
    ray = job["spec"]["rayClusterSpec"]
    assert shlex.split(job["spec"]["entrypoint"])[3:5] == ["--store", "s3://hospital/sweeps"]
    for group in (ray["headGroupSpec"], *ray["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["shared"]["persistentVolumeClaim"] == {"claimName": "patients"}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts == {"shared": "/data", "sweep": "/etc/medsweep", "cache": "/var/cache/medsweep"}


@pytest.mark.parametrize(
    ("target", "store", "said"),
    [
        ("kuberay", "/data/store", r"--store: give a bucket, such as s3://BUCKET/PREFIX, .* volume of --claim"),
        ("job", "store", r"--store: give a bucket, or an absolute path"),
        ("up", "S3://hospital", r"S3://: no store has such a URL; did you mean 's3'"),
    ],
)
def test_a_store_that_the_target_cannot_use_is_told_in_words(target: str, store: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        rendered(target, store=store)


def test_a_bucket_written_with_one_slash_is_the_same_bucket() -> None:
    assert rendered("kuberay", store="s3:/hospital/sweeps") == rendered("kuberay", store="s3://hospital/sweeps")
