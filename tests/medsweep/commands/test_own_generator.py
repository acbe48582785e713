"""The how-to of outside generators, step by step as it is written, with a generator that knows nothing of medsweep."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.commanding import Medsweep

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "own-generator.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_leads_from_a_sweep_file_to_its_report(medsweep: Medsweep, tmp_path: Path) -> None:
    (sweep,), (script,) = blocks("yaml"), blocks("python")
    assert len(script.splitlines()) <= 60
    assert "import medsweep" not in script
    (tmp_path / "own-generator.yaml").write_text(sweep)
    (tmp_path / "painter.py").write_text(script)
    for line in "".join(blocks("sh")).splitlines():
        program, *words = shlex.split(line)
        if program == "python":
            ran = subprocess.run(
                [sys.executable, "-I", *words], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, ran.stderr
        else:
            more = ("--runner", "local") if words[0] == "run" else ()
            told = medsweep(*words, *more, "--store", tmp_path / "store")
            assert told.exit_code == 0, told.output
    results = pd.read_parquet(tmp_path / "results" / "own-generator" / "results.parquet")
    assert results.groupby("arm")["patient"].nunique().to_dict() == {"control": 6, "painter": 6, "more of it": 6}
    page = (tmp_path / "results" / "own-generator" / "report.html").read_text()
    assert "Does a painter of my own help the U-Net?" in page
    assert "Synthetic pairs: from files: fold-{fold}/pool" in page
    pools = [np.load(path) for path in (tmp_path / "store" / "import").glob("*/output/images.npy")]
    made = [np.load(tmp_path / f"fold-{fold}" / "pool" / "images.npy") for fold in (0, 1)]
    assert {pool.tobytes() for pool in pools} == {pool.tobytes() for pool in made}
