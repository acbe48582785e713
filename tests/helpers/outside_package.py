"""A package as a how-to writes it, installed beside medsweep in a folder of its own."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class HowTo:
    """A page of ``docs/how-to`` that writes a package of one module."""

    page: str
    module: str

    def block(self, kind: str, number: int = 0) -> str:
        """A fenced block of the page by its language."""
        text = (ROOT / "docs" / "how-to" / self.page).read_text(encoding="utf-8")
        return str(re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[number])

    def lines_of_code(self) -> int:
        """Lines of the package that are neither empty nor imports."""
        lines = self.block("python").splitlines()
        return len([line for line in lines if line.strip() and not re.match(r"(from|import) ", line)])

    def install(self, folder: Path, script: str | None = None, *, points: str | None = None) -> None:
        """What an installer leaves of the package below ``folder``."""
        site = folder / "site"
        project = tomllib.loads(self.block("toml"))["project"]
        ((group, named),) = project["entry-points"].items()
        lines = "".join(f"{name} = {value}\n" for name, value in named.items()) if points is None else points
        told = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        told.mkdir(parents=True)
        (told / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        (told / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        (site / f"{self.module}.py").write_text(self.block("python") if script is None else script)

    def run(self, folder: Path) -> pd.DataFrame:
        """The results of the sweep that the page writes, run with the package below ``folder`` until its report."""
        assert self.lines_of_code() <= 60
        self.install(folder)
        text = self.block("yaml")
        name = re.findall(r"^sweep: (.+)$", text, re.MULTILINE)[0]
        (folder / f"{name}.yaml").write_text(text)
        ran = medsweep(folder, "run", f"{name}.yaml", "--store", "store", "--runner", "local")
        assert ran.returncode == 0, ran.stderr
        return pd.read_parquet(folder / "results" / name / "results.parquet")


def python(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """``python -m`` in ``folder`` with the package that was installed there beside medsweep."""
    paths = os.pathsep.join([str(folder / "site"), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "WANDB_MODE": "disabled", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def medsweep(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command with the package that was installed in ``folder``."""
    return python(folder, "medsweep", *words)
