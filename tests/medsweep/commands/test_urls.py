"""A URL in place of a path is refused by every command and makes no folder named ``s3:``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.cli import app
from medsweep.errors import UserError
from medsweep.store import bucket
from medsweep.store.store import Store

WITHOUT = ("gc", "ls", "verify", "demo")
"""Commands that need no sweep."""


def with_option(group: TyperGroup, option: str, *before: str) -> Iterator[tuple[tuple[str, ...], TyperOption]]:
    """Every command that takes ``option``."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from with_option(command, option, *before, name)
        else:
            found = [each for each in command.params if option in each.opts and isinstance(each, TyperOption)]
            yield from (((*before, name), each) for each in found)


def commands(option: str) -> list[tuple[str, ...]]:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return [words for words, _ in with_option(group, option)]


def arguments(words: tuple[str, ...], sweep: Path) -> list[str]:
    """What the command asks for besides."""
    asked = {
        ("data", "prepare"): ["phantom", "--root", "."],
        ("data", "export-fold"): [str(sweep), "--fold", "0", "--out", "out"],
        ("new",): ["--dataset", "hippocampus"],
        ("predict",): [str(sweep), "--out", "out"],
        ("score",): [str(sweep), "predicted", "--name", "nnunet", "--fitted-on", "fold.json"],
        ("why",): ["ab"],
        ("show",): ["ab"],
        ("log",): ["ab"],
    }
    return asked.get(words, [] if words[-1] in WITHOUT else [str(sweep)])


@pytest.mark.parametrize("words", [words for words in commands("--store") if words != ("launch",)], ids=" ".join)
def test_no_command_makes_a_folder_of_a_bucket(
    medsweep: Medsweep, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = write_micro(tmp_path)
    monkeypatch.setattr(bucket, "RETRIES", 0)
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "known-only-here")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "known-only-here")
    ended = medsweep(*words, *arguments(words, sweep), "--store", "s3://hospital/sweeps")
    assert ended.exit_code == 2, ended.output
    assert "s3://hospital/sweeps" in ended.output
    assert "known-only-here" not in ended.output
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "work") == ["micro.yaml"]


def test_results_go_to_no_url(medsweep: Medsweep, tmp_path: Path) -> None:
    ended = medsweep("run", write_micro(tmp_path), "--results", "gs://hospital/results", "--runner", "local")
    assert ended.exit_code == 2
    assert "--results gs://hospital/results is a URL" in ended.output
    assert not list(tmp_path.glob("gs*"))


@pytest.mark.parametrize("way", [Store.open, Store.create, Store.existing])
def test_a_store_is_no_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: object) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="s3://hospital/sweeps"):
        way(Path("s3://hospital/sweeps"))
    assert not list(tmp_path.iterdir())
