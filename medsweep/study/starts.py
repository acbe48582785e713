"""Published generators that those of a sweep begin from: found when it is planned, and held against the sweep's own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medsweep.data.config import DataConfig
from medsweep.data.folds import patients_of, split
from medsweep.data.stage_config import FittedConfig
from medsweep.errors import UserError, nearest
from medsweep.identity import canonical, short
from medsweep.store.manifest import DamagedError, Manifest
from medsweep.store.store import MANIFEST, Store
from medsweep.study.kept import keep, kept_path, read_kept
from medsweep.study.pool_folders import PoolFolders
from medsweep.trainers.generation.start import cases_seen_by
from medsweep.trainers.generators import LEFT_OUT, GeneratorConfig, GeneratorFamily, InitFrom, Start
from medsweep.trial import COMPLETE

DIGEST = re.compile(r"[0-9a-f]{8,64}")
OTHER_SWEEP = re.compile(r"(?P<file>.+\.ya?ml):(?P<arm>.+)")


class StartError(UserError):
    """A generator cannot begin so; ``dotted`` is the field that asks for it."""

    def __init__(self, dotted: str, text: str) -> None:
        super().__init__(f"{dotted}: {text}")
        self.dotted = dotted


def asked_start(own: object, variant: str, variants: Sequence[str], dotted: str) -> str | None:
    """What ``init_from`` says of one variant, if anything.

    Raises:
        StartError: it names a variant that the arm has not.
    """
    said: InitFrom = getattr(own, "init_from", None)
    if not isinstance(said, dict):
        return said
    for name in said:
        if name not in variants:
            raise StartError(dotted, f"no generator of this pipeline is called so; {nearest(name, variants)}")
    return said.get(variant)


def first_of(config: FittedConfig, dotted: str) -> GeneratorConfig:
    """The config of the generator that one begins from which asks for ``left-out``: the same, on other patients.

    Raises:
        StartError: the study leaves no training patients out.
    """
    assert isinstance(config, GeneratorConfig), "a family whose settings have init_from has our configs"
    if config.fold.patients is None:
        raise StartError(
            dotted, f"{LEFT_OUT} takes training patients that the study leaves out, and it uses all; set data.patients"
        )
    unread = {"segmenter_weight": 0.0} if "segmenter_weight" in type(config).model_fields else {}
    return config.model_copy(update={"left_out": True, **unread})


@dataclass(frozen=True)
class Starts:
    """The generators that the arms of a sweep name, each looked at once per command."""

    folders: PoolFolders
    """The sweep, its data and its store."""

    def begun(self, asked: str, family: GeneratorFamily, config: FittedConfig, data: DataConfig) -> GeneratorConfig:
        """``config`` of a training that begins from the generator ``asked`` for.

        Raises:
            StartError: there is none, it does not fit, or it learned from a patient who is tested or validated.
        """
        assert isinstance(config, GeneratorConfig), "a family whose settings have init_from has our configs"
        dotted = f"{family.stage.name}.init_from"
        key = (asked, family.stage.name, config.label)
        if key not in self.folders.starts:
            self.folders.starts[key] = self._looked_up(asked, family, config, data, dotted)
        start = self.folders.starts[key]
        if Path(start.path).is_dir() and family.misfits is not None:
            required = self.folders.required(data)
            differences = family.misfits(Path(start.path), config, len(required.modalities), len(required.classes))
            if differences:
                text = f"the generator {short(start.digest)} does not fit: {'; '.join(differences)}"
                raise StartError(dotted, text)
        self._require_unseen(start, config, dotted)
        return config.model_copy(update={"start": start})

    def _require_unseen(self, start: Start, config: GeneratorConfig, dotted: str) -> None:
        groups = split(self.folders.source.patients, config.fold)
        known = () if start.strangers else patients_of(start.fitted_on)
        for does, members in (("tests", groups.test), ("validates on", groups.validation)):
            if shared := set(known) & set(patients_of(members)):
                raise StartError(
                    dotted,
                    f"the generator {short(start.digest)} learned from {len(shared)} patient(s) whom fold "
                    f"{config.fold.index} {does}, first {min(shared)!r}; begin from one that never saw them",
                )

    def _looked_up(
        self, asked: str, family: GeneratorFamily, config: GeneratorConfig, data: DataConfig, dotted: str
    ) -> Start:
        folders = self.folders
        key = canonical([folders.sweep.name, asked, family.stage.name, config.label, folders.source.patients])
        record = folders.store.fresh(kept_path(folders.store, "start", key))
        try:
            store, manifest = self._published(asked, family, config)
        except (UserError, DamagedError) as error:
            if folders.reading and (kept := read_kept(Start, record)) is not None:
                return kept
            raise StartError(dotted, str(error)) from None
        start = self._start(store, manifest, family, data, dotted)
        keep(start, record, folders.store)
        return start

    def _published(self, asked: str, family: GeneratorFamily, config: GeneratorConfig) -> tuple[Store, Manifest]:
        store = self.folders.store
        if (other := OTHER_SWEEP.fullmatch(asked)) is not None:
            digest = self._in_sweep(other["file"], other["arm"], family, config)
            if store.outcome(family.stage.name, digest) is None:
                raise UserError(f"{asked} is not trained yet; run  medsweep run {other['file']}  in this store first")
            return store, store.manifest(family.stage.name, digest)
        if DIGEST.fullmatch(asked):
            if (manifest := store.find(asked)) is None:
                raise store.no_such(asked)
            return store, manifest
        folder = self.folders.sweep.yaml.path.parent / Path(asked).expanduser()
        folder = (folder.parent if folder.name == "output" else folder).absolute()
        if not (folder / MANIFEST).is_file():
            raise UserError(
                f"{folder} is no published trial; give a digest of this store, the folder STORE/{family.stage.name}/"
                f"DIGEST of another one, SWEEP.yaml:ARM, or {LEFT_OUT}"
            )
        store = Store.existing(folder.parents[1])
        return store, store.manifest(folder.parent.name, folder.name)

    def _in_sweep(self, file: str, arm: str, family: GeneratorFamily, config: GeneratorConfig) -> str:
        """Digest of the generator of an arm of another sweep, under its first fold and seed."""
        assert self.folders.plan_of is not None, "whoever plans a sweep says how another one is planned"
        plan = self.folders.plan_of(self.folders.sweep.yaml.path.parent / file)
        names = [each.name for each in plan.arms] + list(plan.aliases)
        if arm not in names:
            raise UserError(f"{file} has no arm {arm!r}; {nearest(arm, names)}")
        made_from = plan.ancestry(plan.leaves_of(arm)[0])
        for digest, trial in plan.trials.items():
            if digest in made_from and trial.stage == family.stage.name and trial.config.label == config.label:
                return digest
        raise UserError(f"arm {arm!r} of {file} has no generator {config.label!r}")

    def _start(self, store: Store, manifest: Manifest, family: GeneratorFamily, data: DataConfig, dotted: str) -> Start:
        where = f"{manifest.stage} {short(manifest.digest)}"
        if manifest.stage != family.stage.name or manifest.outcome != COMPLETE:
            what = f"was published as {manifest.outcome}" if manifest.outcome != COMPLETE else "is no generator of it"
            raise StartError(dotted, f"{where} {what}; give a complete trial of stage {family.stage.name}")
        store.verify(manifest.stage, manifest.digest)
        folder = store.folder_with(manifest, (".safetensors", ".json")) / "output"
        try:
            seen = cases_seen_by(folder)
        except UserError as error:
            raise StartError(dotted, str(error)) from None
        prepared = manifest.inputs.get("prepare", "")
        slices = store.output("prepare", prepared)
        names = {name.removeprefix("output/"): sha256 for name, sha256 in manifest.files.items()}
        return Start(
            digest=manifest.digest,
            path=str(folder),
            files={name: sha256 for name, sha256 in names.items() if name.endswith((".safetensors", ".json"))},
            fitted_on=tuple(sorted(seen)),
            slices=str(slices) if slices.is_dir() else None,
            strangers=slices.is_dir() and _are_others(store.manifest("prepare", prepared), data),
        )


def _are_others(prepared: Manifest, data: DataConfig) -> bool:
    """Whether the patients of prepared slices are no patients of ``data`` for sure: where either are made up."""
    made_up = prepared.config.get("phantom")
    if made_up is None or data.phantom is None:
        return made_up is not data.phantom
    own = data.phantom.model_dump(mode="json")
    return (prepared.config["dataset"], made_up | {"patients": 0}) != (data.dataset, own | {"patients": 0})
