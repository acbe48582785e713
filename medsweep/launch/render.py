"""Files of each target as text, writing them, and handing them to the cluster's own program."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final

from medsweep.errors import UserError
from medsweep.launch.nodes import RAY_GIB, NodeGroup, node_groups, node_memory, node_size
from medsweep.launch.options import Job, Kuberay, Options, Slurm, Up
from medsweep.sweep.file import Resources, Schema
from medsweep.sweep.load import load_sweep
from medsweep.yamlfile import variables_of

EXCLUDES: Final = ("/.git", "/.venv", "/store", "/results", "/wandb", "/launch", "/data", "__pycache__", "*.nii.gz")
"""What stays behind when the project's folder is sent to a cluster; a leading slash is that folder, since packages
have folders of the same names."""
MACHINES: Final = {"aws": ("m5.xlarge", "g5.xlarge"), "gcp": ("n2-standard-4", "g2-standard-4")}
"""Default workers without and with a GPU; all have 4 CPU cores."""
HEADS: Final = {"aws": "m5.large", "gcp": "n2-standard-2"}
REGIONS: Final = {"aws": "us-west-2", "gcp": "us-west1"}
NODES_MINUTES: Final = 30
"""Time that the nodes of a cluster made for the sweep get to come."""
POD_CACHE: Final = "/var/cache/medsweep"
"""Where a pod mounts the node's own disk for copies of what its trials read; elsewhere they go below ``/tmp``."""
BUCKET_VARIABLES: Final = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
}
"""Keys of a secret that pods get as variables, by the kind of bucket; all of them may be missing."""


@dataclass(frozen=True)
class LaunchedSweep:
    """A sweep file as far as a launch needs it: its path as typed, its text, its name, what its trials hold."""

    path: Path
    text: str
    name: str
    resources: Mapping[str, Resources]
    folds: str | None
    """File of the folds, relative to the sweep file."""
    variables: Mapping[str, str]
    """Environment variables that the file reads, each with its place in the file."""


@dataclass(frozen=True)
class Rendered:
    """Files by name; the words of the command that submits them, in which a file's name stands for its path."""

    files: Mapping[str, str]
    command: tuple[str, ...]
    needs: str
    """Program that must be there to submit."""
    then: tuple[str, ...] = ()
    """Command to type once the first has ended well."""
    last: tuple[str, ...] = ()
    """Command that gives the machines back."""


def read_launched(path: Path, schema: Schema) -> LaunchedSweep:
    """Read what a launch needs of a sweep file; a UserError tells the line of what is wrong with it."""
    sweep = load_sweep(path, schema)
    file, place = sweep.file, sweep.yaml.path
    text = place.read_text(encoding="utf-8")
    return LaunchedSweep(path, text, file.sweep, file.resources, file.replicates.file, variables_of(place))


def render(sweep: LaunchedSweep, options: Options) -> Rendered:
    """The files for the target that ``options`` belong to. Raises UserError: what the target cannot take."""
    if options.needs_project_folder and (sweep.path.is_absolute() or ".." in sweep.path.parts):
        raise UserError(
            f"{sweep.path} is not inside this folder, which is what reaches the cluster; "
            "type the command in the project's folder, with a path relative to it"
        )
    if not isinstance(options, Slurm):  # sbatch passes the variables of the shell on
        _refuse_unset(sweep, options)
    if not str(sweep.path).isprintable():
        raise UserError(f"the path {str(sweep.path)!r} holds a control character; rename the file")
    writers: Mapping[type[Options], Callable[[LaunchedSweep, Any], Rendered]]
    writers = {Slurm: _slurm, Kuberay: _kuberay, Job: _job, Up: _up}
    return writers[type(options)](sweep, options)


def _refuse_unset(sweep: LaunchedSweep, options: Options) -> None:
    """Refuse a variable of the sweep file that would not be set where the driver runs."""
    for name, place in sweep.variables.items():
        if name not in options.variables:
            raise UserError(f"{place}: ${{{name}}} is not set where the driver runs; add --env {name}=VALUE")


def _slurm(sweep: LaunchedSweep, options: Slurm) -> Rendered:
    cpus, gpus = node_size(sweep.resources, options)
    store = ["--store", options.store] if options.store is not None else []
    driver = ["medsweep", "run", str(sweep.path), *store, "--yes"]
    memory = node_memory(sweep.resources, options, cpus, gpus)
    text = _fill("slurm.sbatch", sweep=sweep, options=options, driver=driver, cpus=cpus, gpus=gpus, memory=memory)
    return Rendered({"slurm.sbatch": text}, ("sbatch", "slurm.sbatch"), "sbatch")


def _kuberay(sweep: LaunchedSweep, options: Kuberay) -> Rendered:
    name = f"medsweep-{sweep.name}"
    if len(name) > 47 or name.endswith("-"):
        raise UserError(
            f"sweep {sweep.name!r}: KubeRay takes up to 38 characters, the last a letter or digit; rename it"
        )
    if sweep.folds is not None and not Path(sweep.folds).is_absolute():
        raise UserError(
            f"{sweep.path}: replicates.file {sweep.folds} does not reach the pods; put it on the volume of --claim "
            "and give its absolute path"
        )
    groups = node_groups(sweep.resources, options)
    key = {"secretKeyRef": {"name": options.secret, "key": "WANDB_API_KEY", "optional": True}}
    # Kubernetes reads $(NAME) in a value, and $$ as a dollar.
    variables = _variables(options, POD_CACHE) | ({} if options.store is None else {"MEDSWEEP_WORK": POD_CACHE})
    cache_mount, cache_volume = {"name": "cache", "mountPath": POD_CACHE}, {"name": "cache", "emptyDir": {}}
    shared_mount: dict[str, Any] = {"name": "shared", "mountPath": options.mount}
    shared_volume: dict[str, Any] = {"name": "shared", "persistentVolumeClaim": {"claimName": options.claim}}
    shared = options.mounts_claim
    head_caches = options.store is not None  # the driver works there
    env = [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]
    text = _fill(
        "rayjob.yaml",
        sweep=sweep,
        options=options,
        driver=_far_driver(
            f"/etc/medsweep/{sweep.name}.yaml",
            options.store or f"{options.mount.rstrip('/')}/store",
            sweep.name,
            NODES_MINUTES,
        ),
        deadline=round(options.hours * 3600),
        ray_version=version("ray"),
        env=[{"name": "WANDB_API_KEY", "valueFrom": key}, *_bucket_variables(options), *env],
        mounts=[*([shared_mount] if shared else []), {"name": "sweep", "mountPath": "/etc/medsweep"}],
        volumes=[*([shared_volume] if shared else []), {"name": "sweep", "configMap": {"name": name}}],
        head_mounts=[cache_mount] if head_caches else [],
        head_volumes=[cache_volume] if head_caches else [],
        cache_mount=cache_mount,
        cache_volume=cache_volume,
        head_resources={"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"cpu": "2", "memory": "8Gi"}},
        groups=[(group, _pod_resources(group, options), _worker_pod(group, options)) for group in groups],
        pod=_pod(options),
    )
    return Rendered({"rayjob.yaml": text}, ("kubectl", "apply", "-f", "rayjob.yaml"), "kubectl")


def _bucket_variables(options: Kuberay) -> list[dict[str, Any]]:
    """Variables of every pod that the secret of the bucket may hold."""
    names = BUCKET_VARIABLES[options.store.partition(":")[0]] if options.store is not None else ()
    secret = {"name": options.bucket_secret, "optional": True}
    return [{"name": name, "valueFrom": {"secretKeyRef": {**secret, "key": name}}} for name in names]


def _pod(options: Kuberay) -> dict[str, Any]:
    """Fields of every pod that say as whom it runs and how its image is pulled."""
    pod: dict[str, Any] = {}
    if options.user_id is not None:
        own = options.user_id
        pod["securityContext"] = {"runAsNonRoot": True, "runAsUser": own, "runAsGroup": own, "fsGroup": own}
    if options.service_account is not None:
        pod["serviceAccountName"] = options.service_account
    if options.pull_secret is not None:
        pod["imagePullSecrets"] = [{"name": options.pull_secret}]
    return pod


def _pod_resources(group: NodeGroup, options: Kuberay) -> dict[str, Any]:
    """What a worker requests, and is limited to."""
    own = options.memory if group.gpus or not options.cpu_nodes else None
    held = {"cpu": str(group.cpus), "memory": f"{max(group.memory_gib or 0, own or 4 * group.cpus)}Gi"}
    if group.gpus:
        held["nvidia.com/gpu"] = str(group.gpus)
    return {"requests": held, "limits": held}


def _worker_pod(group: NodeGroup, options: Kuberay) -> dict[str, Any]:
    """Fields of a worker's pod that say which Kubernetes nodes it may run on."""
    tolerated = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}] if group.gpus else []
    for pair in options.toleration:
        key, equals, value = pair.partition("=")
        tolerated.append({"key": key, **({"operator": "Equal", "value": value} if equals else {"operator": "Exists"})})
    selected = dict(pair.split("=", 1) for pair in options.node_selector)
    pod = {**_pod(options), "nodeSelector": selected, "tolerations": tolerated}
    return {name: value for name, value in pod.items() if value}


def _job(sweep: LaunchedSweep, options: Job) -> Rendered:
    values: dict[str, Any] = {
        "driver": _far_driver(sweep.path.as_posix(), options.store, sweep.name),
        "excludes": EXCLUDES,
        "variables": _variables(options, "/tmp"),
        "package": _package("${RAY_RUNTIME_ENV_CREATE_WORKING_DIR}", options.store),
    }
    filled = {name: _fill(name, sweep=sweep, options=options, **values) for name in ("runtime_env.yaml", "job.sh")}
    return Rendered(filled, ("sh", "job.sh"), "ray")


def _up(sweep: LaunchedSweep, options: Up) -> Rendered:
    name = f"ray-up-{options.provider}.yaml"
    variables = "".join(f" {name}={shlex.quote(value)}" for name, value in _variables(options, "/tmp").items())
    exports = f"export RAY_AUTH_MODE=token{variables}; "
    node_types: dict[str, Any] = {}
    provider: dict[str, Any] = {"type": "local", "head_ip": options.head, "worker_ips": options.workers}
    if options.provider != "local":
        provider = {"type": options.provider, "region": options.region or REGIONS[options.provider]}
        node_types = _node_types(sweep, options)
    if options.provider == "gcp":
        provider |= {"availability_zone": f"{provider['region']}-a", "project_id": options.project}
    text = _fill(
        "ray-up.yaml",
        sweep=sweep,
        options=options,
        provider=provider,
        node_types=node_types,
        excludes=EXCLUDES,
        exports=f"{exports}ulimit -n 65536; ",
        package=_package(".", options.store),
    )
    driver = shlex.join(_far_driver(sweep.path.as_posix(), options.store, sweep.name, NODES_MINUTES))
    then = ("ray", "exec", "--tmux", name, f"{exports}cd ~/medsweep && {driver}")
    return Rendered({name: text}, ("ray", "up", "--yes", name), "ray", then, ("ray", "down", "--yes", name))


def _node_types(sweep: LaunchedSweep, options: Up) -> dict[str, Any]:
    """Head and workers in the cloud's words; AWS tells Ray what its machines hold, Google does not."""
    types: dict[str, Any] = {}
    cloud = _aws if options.provider == "aws" else _gcp
    for group in node_groups(sweep.resources, options):
        own = options.machine if group.name == "worker" else options.cpu_machine
        if own is None and (group.cpus > 4 or group.gpus > 1):
            flag = "machine" if group.name == "worker" else "cpu-machine"
            text = f"a node of this sweep holds {group.cpus} CPU cores and {group.gpus} GPUs"
            raise UserError(f"{text}; name its type with --{flag}")
        machine = own or MACHINES[options.provider][bool(group.gpus)]
        count = {"min_workers": 0, "max_workers": group.count}
        types[group.name] = {**count, **cloud(group, machine, options)}
    head = NodeGroup("head", 1, 0, 0, None)
    on_demand = options.model_copy(update={"spot": False})
    return {"head": {**cloud(head, HEADS[options.provider], on_demand), "resources": {"CPU": 0}}, **types}


def _aws(group: NodeGroup, machine: str, options: Up) -> dict[str, Any]:
    config: dict[str, Any] = {"InstanceType": machine, **({"ImageId": options.image} if options.image else {})}
    if options.spot:
        config["InstanceMarketOptions"] = {"MarketType": "spot"}
    return {"resources": {}, "node_config": config}


def _gcp(group: NodeGroup, machine: str, options: Up) -> dict[str, Any]:
    if group.gpus and options.image is None:
        raise UserError("--provider gcp with GPUs needs --image, a source image that holds NVIDIA's drivers")
    source = options.image or "projects/deeplearning-platform-release/global/images/family/common-cpu"
    disk = {"boot": True, "autoDelete": True, "type": "PERSISTENT"}
    disk["initializeParams"] = {"diskSizeGb": 100, "sourceImage": source}
    config: dict[str, Any] = {"machineType": machine, "disks": [disk]}
    scheduling = {"onHostMaintenance": "TERMINATE"} if group.gpus else {}
    if options.spot:
        scheduling |= {"provisioningModel": "SPOT", "instanceTerminationAction": "DELETE"}
    if scheduling:
        config["scheduling"] = [scheduling]
    held: dict[str, int] = {"CPU": group.cpus}
    if group.gpus:
        held["GPU"] = group.gpus
    if group.memory_gib is not None:  # a trial that states memory finds no kind of node that does not
        held["memory"] = (group.memory_gib - RAY_GIB) * 2**30
    return {"resources": held, "node_config": config}


def _variables(options: Options, cache: str) -> dict[str, str]:
    """Variables of driver and trials; ``--env MEDSWEEP_CACHE=`` says otherwise than ``cache``."""
    return {"MEDSWEEP_CACHE": cache, **options.variables}


def _package(folder: str, store: str) -> str:
    """What pip installs from a folder for this store."""
    return folder if "://" not in store else f"{folder}[bucket]"


def _far_driver(sweep: str, store: str, name: str, wait_minutes: int | None = None) -> list[str]:
    """The driver's command where only the store outlives the cluster: tables and report go beside its folder.

    Beside a bucket nothing can go, and they are made anew from it wherever they are wanted.

    On a cluster that was made for the sweep it may begin before the nodes, which get ``wait_minutes``.
    """
    results = [] if "://" in store else ["--results", str(PurePosixPath(store).parent / "results" / name)]
    wait = [] if wait_minutes is None else ["--wait-for-nodes", str(wait_minutes)]
    return ["medsweep", "run", sweep, "--store", store, "--yes", *results, "--address", "auto", *wait]


def _fill(name: str, /, *, sweep: LaunchedSweep, **values: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # here, since every command imports this module

    environment = Environment(
        loader=PackageLoader("medsweep.launch"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Every value passes one of these or a pattern. JSON is YAML, and a JSON string a YAML string whatever it holds.
    environment.filters |= {"sh": shlex.quote, "shjoin": shlex.join, "yaml": json.dumps}
    template = environment.get_template(f"{name}.j2")
    return template.render(sweep=sweep.name, sweep_text=sweep.text.rstrip("\n"), **values)


def write(rendered: Rendered, folder: Path) -> list[Path]:
    """Write the files into ``folder``, over those of an earlier launch.

    Raises:
        UserError: the folder cannot be written.
    """
    paths = [folder / name for name in rendered.files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_text(rendered.files[path.name], encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written ({error.strerror}); choose another folder") from None
    return paths


def in_folder(command: Sequence[str], rendered: Rendered, folder: Path) -> list[str]:
    """``command`` with the files' names as paths."""
    return [str(folder / word) if word in rendered.files else word for word in command]


def submit(rendered: Rendered, folder: Path) -> int:
    """Run the command that submits; its exit code. Raises UserError: the cluster's program is not installed."""
    if shutil.which(rendered.needs) is None:
        raise UserError(
            f"no program {rendered.needs} is on the PATH; submit the files in {folder} where it is, or install it"
        )
    return subprocess.run(in_folder(rendered.command, rendered, folder), check=False).returncode
