"""What ``medsweep launch`` may be told about each target, and the size of a node that a sweep needs.

The docstring of a field is its help on the command line, with its default in brackets.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args, get_origin

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from medsweep.config import Config
from medsweep.errors import UserError
from medsweep.store.location import location
from medsweep.validation import explain

SECRET: Final = re.compile(r"(?i)(key|token|secret|password)\w*=")
"""An assignment to a name that sounds like a secret."""
KEY_LIKE: Final = re.compile(
    r"-----BEGIN|\bsk-[\w-]{16,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bhf_\w{20,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\bxox[abprs]-[\w-]{10,}|\bey[JI][\w-]{10,}\.[\w-]{10,}\.|\bwandb_v1_\w{20,}|(?<![\w/.-])[0-9a-f]{40}(?![\w/.-])"
)
"""Values that look like keys, whatever their name: private keys, tokens of known services, W&B's 40 hex digits."""
SHARED: Final = "/mnt/medsweep"
"""Default folder that all nodes of a cluster share."""
WORD: Final = r"^[A-Za-z0-9][A-Za-z0-9_.,:/@-]*$"
"""Names that mean the same in a shell, in YAML and to a scheduler."""
LABEL: Final = r"[A-Za-z0-9][A-Za-z0-9_./-]*(=[A-Za-z0-9_.-]*)?"
FOLDER: Final = r"^/[A-Za-z0-9_./-]*$"

WARNING_SECONDS: Final = 180
"""Time before its limit at which Slurm warns a job."""


class Target(StrEnum):
    """What the files are for."""

    SLURM = "slurm"
    KUBERAY = "kuberay"
    JOB = "job"
    UP = "up"


def _one_line(value: Any) -> Any:
    if not "".join(value or "").isprintable():
        raise ValueError("write one printable line")
    return value


class Options(Config):
    """What every target reads."""

    needs_project_folder: ClassVar[bool] = True
    """Whether the sweep file reaches the cluster inside the folder that the command is typed in."""

    env: tuple[str, ...] = ()
    """NAME=VALUE for the driver and the trials, never a key; may be repeated."""

    @field_validator("env")
    @classmethod
    def _named(cls, env: tuple[str, ...]) -> tuple[str, ...]:
        for pair in env:
            name, equals, value = pair.partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or not value.isprintable():
                raise ValueError("write NAME=VALUE, on one line")
        return env

    @property
    def variables(self) -> dict[str, str]:
        """``env`` by name."""
        pairs = (pair.partition("=") for pair in self.env)
        return {name: value for name, _, value in pairs}


class Nodes(Options):
    """Targets that make a cluster of equal nodes."""

    nodes: int = Field(default=1, ge=1)
    """Nodes that run trials [1]."""
    cpus: int | None = Field(default=None, ge=1)
    """CPU cores of a node [from the sweep's resources]."""
    gpus: int | None = Field(default=None, ge=0)
    """GPUs of a node [from the sweep's resources]."""


class Kinds(Nodes):
    """Targets that can have a second kind of nodes."""

    cpu_nodes: int = Field(default=0, ge=0)
    """Nodes without GPUs beside the others, for the stages that hold none [0]."""


class Setup(Options):
    """Targets on which shell lines prepare a node."""

    setup: tuple[str, ...] = ()
    """Shell line that prepares a node; may be repeated."""

    _one_line_each = field_validator("setup")(_one_line)


class WithToken(Options):
    """Targets that Ray's token reaches as a file; KubeRay makes a secret of its own."""

    token_file: str | None = Field(default=None, min_length=1)
    """File with Ray's token, mode 600 [~/.ray/auth_token]."""

    _printable = field_validator("token_file")(_one_line)


class SharedStore(Options):
    """Targets whose driver runs far from the folder of the command."""

    store: str = f"{SHARED}/store"
    """Bucket of the finished trials, or a folder of all nodes; tables go beside a folder [/mnt/medsweep/store]."""

    @field_validator("store")
    @classmethod
    def _seen_by_all_nodes(cls, store: str) -> str:
        where = location(store)
        if isinstance(where, Path) and not re.fullmatch(FOLDER, store):
            raise ValueError("give a bucket, or an absolute path of letters, digits and ._- on all nodes")
        return str(where)


class Slurm(Nodes, Setup, WithToken):
    """An sbatch script; it is submitted from the folder that the sweep's path is relative to."""

    needs_project_folder: ClassVar[bool] = False
    store: str | None = None
    """Bucket of the finished trials, or a folder that all nodes see [what medsweep run takes]."""
    time: str = Field(default="24:00:00", pattern=r"^([0-9]+-)?[0-9]{1,3}(:[0-9]{2}){1,2}$")
    """Time limit, D-HH:MM:SS [24:00:00]."""
    memory: int | None = Field(default=None, ge=1)
    """GiB of a node [from the sweep's resources; Slurm's choice where they state none]."""
    partition: str | None = Field(default=None, pattern=WORD)
    """Slurm's partition."""
    account: str | None = Field(default=None, pattern=WORD)
    """Slurm's account."""
    scratch: str = Field(default="/tmp", pattern=FOLDER, max_length=24)
    """Node-local folder with a short path, since sockets lie below it [/tmp]."""
    requeues: int = Field(default=20, ge=0)
    """How often a job that reaches its time limit queues again [20]."""

    @field_validator("time")
    @classmethod
    def _beyond_the_warning(cls, time: str) -> str:
        days, _, clock = time.rpartition("-")
        parts = [int(part) for part in clock.split(":")]
        if len(parts) == 2:
            parts = [*parts, 0] if days else [0, *parts]
        seconds = 86400 * int(days or 0) + 3600 * parts[0] + 60 * parts[1] + parts[2]
        if seconds <= 2 * WARNING_SECONDS:
            raise ValueError(f"the job is warned {WARNING_SECONDS} s before its end; give it more than twice that")
        return time


class Kuberay(Kinds):
    """A RayJob with its sweep file in a ConfigMap; the image holds medsweep."""

    needs_project_folder: ClassVar[bool] = False
    image: str = Field(default="medsweep:latest", pattern=WORD)
    """Container image with medsweep in it [medsweep:latest]."""
    store: str | None = None
    """Bucket of the finished trials, such as s3://BUCKET/PREFIX; then a claim is mounted only where one is named."""
    bucket_secret: str = Field(default="medsweep-bucket", pattern=WORD)
    """Name of the secret with the bucket's variables; without it the pods' service account counts [medsweep-bucket]."""
    service_account: str | None = Field(default=None, pattern=WORD)
    """Service account of the pods."""
    claim: str = Field(default="medsweep", pattern=WORD)
    """ReadWriteMany volume claim, for the store or, beside a bucket, for the data [medsweep; none beside a bucket]."""
    mount: str = Field(default=SHARED, pattern=FOLDER)
    """Where the claim is mounted; without a bucket the store is the folder store in it [/mnt/medsweep]."""
    secret: str = Field(default="wandb", pattern=WORD)
    """Name of the secret whose WANDB_API_KEY reaches the pods; without it W&B stays offline [wandb]."""
    memory: int | None = Field(default=None, ge=1)
    """GiB of a worker [4 per CPU core]."""
    hours: float = Field(default=24.0, gt=0)
    """Deadline in hours [24]."""
    retries: int = Field(default=2, ge=0)
    """New clusters after a failure [2]."""
    ttl: int = Field(default=600, ge=0)
    """Seconds for which the finished cluster stays [600]."""
    queue: str | None = Field(default=None, pattern=WORD)
    """Kueue's local queue."""
    pull_secret: str | None = Field(default=None, pattern=WORD)
    """Name of the secret that pulls the image."""
    user_id: int | None = Field(default=None, ge=1)
    """User and group of the pods where root is not allowed; the volume is theirs, too [the image's]."""
    node_selector: tuple[str, ...] = ()
    """LABEL=VALUE of the Kubernetes nodes that workers may run on, spot nodes for example; may be repeated."""
    toleration: tuple[str, ...] = ()
    """KEY or KEY=VALUE of a taint that workers tolerate; may be repeated."""

    @field_validator("store")
    @classmethod
    def _in_a_bucket(cls, store: str | None) -> str | None:
        if store is None:
            return None
        where = location(store)
        if isinstance(where, Path):
            raise ValueError("give a bucket, such as s3://BUCKET/PREFIX; a folder lies on the volume of --claim")
        return str(where)

    @property
    def mounts_claim(self) -> bool:
        """Whether pods have the claim: for the store, or for what a sweep reads beside a bucket."""
        return self.store is None or "claim" in self.model_fields_set

    @model_validator(mode="after")
    def _reads_all_that_was_typed(self) -> "Kuberay":
        if not self.mounts_claim and "mount" in self.model_fields_set:
            raise ValueError("--mount is for a claim, and beside a bucket none is mounted; name it with --claim")
        if self.store is None and "bucket_secret" in self.model_fields_set:
            raise ValueError("--bucket-secret has no meaning with a store on a claim; leave it out")
        return self

    @field_validator("node_selector", "toleration")
    @classmethod
    def _labels(cls, pairs: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for pair in pairs:
            if not re.fullmatch(LABEL, pair) or (info.field_name == "node_selector" and "=" not in pair):
                raise ValueError(f"write LABEL=VALUE, as cloud.google.com/gke-spot=true; got {pair!r}")
        return pairs


class Job(WithToken, SharedStore):
    """A job on a running Ray cluster, with the code of this folder."""

    address: str = Field(default="http://127.0.0.1:8265", pattern=r"^https?://[A-Za-z0-9_.:/-]+$")
    """Address of the cluster's dashboard [http://127.0.0.1:8265]."""


class Up(Kinds, Setup, WithToken, SharedStore):
    """A cluster file of Ray's own launcher."""

    provider: Literal["aws", "gcp", "local"] = "aws"
    """aws, gcp or local [aws]."""
    region: str | None = Field(default=None, pattern=WORD)
    """Region of the cloud."""
    machine: str | None = Field(default=None, pattern=WORD)
    """Instance type of the workers."""
    cpu_machine: str | None = Field(default=None, pattern=WORD)
    """Instance type of the nodes without GPUs."""
    spot: bool = False
    """Whether the workers are spot machines, which cost less and may be taken away at any time; the head is none."""
    image: str | None = Field(default=None, pattern=WORD)
    """AMI, or source image of gcp [Ray's choice]."""
    project: str | None = Field(default=None, pattern=WORD)
    """Project of gcp."""
    head: str | None = Field(default=None, pattern=WORD)
    """Host of a local head."""
    workers: tuple[str, ...] = ()
    """Host of a local worker; may be repeated."""
    user: str = Field(default="ubuntu", pattern=WORD)
    """User of SSH [ubuntu]."""

    @model_validator(mode="after")
    def _of_the_provider(self) -> "Up":
        if self.provider == "gcp" and self.project is None:
            raise ValueError("--provider gcp needs --project")
        if self.provider == "local" and (self.head is None or not self.workers):
            raise ValueError("--provider local needs --head HOST and --workers HOST, once per worker")
        cloud = {"region", "machine", "cpu_machine", "cpu_nodes", "spot", "image", "nodes", "cpus", "gpus"}
        local = {"head", "workers"}
        unread = {"aws": local | {"project"}, "gcp": local, "local": cloud | {"project"}}[self.provider]
        for name in sorted(unread & self.model_fields_set):
            raise ValueError(f"--{_flag(name)} has no meaning with --provider {self.provider}; leave it out")
        if self.cpu_machine is not None and not self.cpu_nodes:
            raise ValueError("--cpu-machine is for nodes without GPUs; say how many with --cpu-nodes")
        return self


MODELS: Final[Mapping[Target, type[Options]]] = {
    Target.SLURM: Slurm,
    Target.KUBERAY: Kuberay,
    Target.JOB: Job,
    Target.UP: Up,
}


def options_of(target: Target, typed: Mapping[str, Any]) -> Options:
    """The options of ``target``; ``typed`` holds what was typed.

    Raises:
        UserError: an option of another target, a value that does not fit, or a key that would be written to a file.
    """
    model = MODELS[target]
    for name in typed:
        if name not in model.model_fields:
            readers = [other.value for other, its in MODELS.items() if name in its.model_fields]
            raise UserError(f"--{_flag(name)} is for --target {' and '.join(readers)}, not {target}; leave it out")
    _refuse_secrets(typed)
    if typed.get("store"):
        location(typed["store"])
    try:
        return model(**typed)
    except ValidationError as error:
        place, message = explain(error, model)
        raise UserError(f"--{_flag(message)}" if place else message) from None


def typed_options() -> dict[str, Any]:
    """Name and type of every option of any target; a tuple is typed as a list."""
    return {name: _kind(field.annotation) for model in MODELS.values() for name, field in model.model_fields.items()}


def help_of(name: str) -> str:
    """What an option means to each target that reads it."""
    meant: dict[str, list[str]] = {}
    for target, model in MODELS.items():
        if name in model.model_fields:
            meant.setdefault(model.model_fields[name].description or "", []).append(target.value)
    return " ".join(f"{text} ({', '.join(targets)})" for text, targets in meant.items())


def _kind(annotation: Any) -> Any:
    """The type that an option's word is read as."""
    for kind in (bool, int, float):
        if kind is annotation or kind in get_args(annotation):
            return kind
    return list[str] if get_origin(annotation) is tuple else str


def _flag(message: str) -> str:
    """``message``, which begins with a field's name, with that name as it is typed."""
    name, colon, rest = message.partition(":")
    return name.replace("_", "-") + colon + rest


def _refuse_secrets(typed: Mapping[str, Any]) -> None:
    """Keys belong to no file; what was typed stays out of the message, which ends up in logs."""
    for name in ("env", "setup"):
        for text in typed.get(name, ()):
            if (secret := SECRET.search(text)) is not None:
                raise UserError(
                    f"--{name} sets a {secret[1].lower()}, which would be written to a file; "
                    "keep it in the environment of the cluster's nodes or in a secret"
                )
            if KEY_LIKE.search(text) is not None:
                raise UserError(
                    f"a value of --{name} looks like a key, which would be written to a file; "
                    "keep it in the environment of the cluster's nodes or in a secret"
                )
