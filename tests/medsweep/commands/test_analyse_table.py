"""``medsweep analyse table.csv``: a report for people who have a table and no sweep."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.commanding import Medsweep
from medsweep.analysis.study.analyse import analyse_table


def scores(gain: float = 0.04) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    level = rng.normal(0.7, 0.05, 10)
    rows = [
        (arm, seed, f"case-{i}", level[i] + shift + rng.normal(0, 0.004))
        for arm, shift in (("real only", 0.0), ("b-sg", gain), ("mc-sg", 0.0))
        for seed in range(4)
        for i in range(10)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "patient", "value"])


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_table_gets_the_report_of_a_sweep(medsweep: Medsweep, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine.{ending}"
    if ending == "parquet":
        scores().to_parquet(path)
    else:
        scores().to_csv(path, sep="\t" if ending == "tsv" else ",")
    out = tmp_path / "out"
    done = medsweep("analyse", path, "--control", "real only", "--margin", "0.02", "--out", out)
    assert done.exit_code == 0, done.output
    found = analyse_table(scores(), control="real only", margin=0.02)
    assert done.output.splitlines()[0] == found.headline
    assert done.output.splitlines()[-1] == f"report: {out / 'report.html'}"
    record = json.loads((out / "analysis.json").read_text())
    assert [answer["arm"] for answer in record["answers"]] == ["b-sg", "mc-sg"]
    assert record["rules"]["margin"] == 0.02
    assert "b-sg" in (out / "report.html").read_text()


def test_settings_reach_the_analysis(medsweep: Medsweep, tmp_path: Path) -> None:
    table = scores(gain=-0.04)
    table.loc[3, "value"] = np.nan
    table.to_csv(tmp_path / "mine.csv", index=False)
    words = ("--primary", "error", "--lower-is-better", "--missing", "complete-cases", "--seeds", "paired")
    done = medsweep("analyse", tmp_path / "mine.csv", "--control", "real only", *words, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("1 of 2 arms is superior to real only on error (n = 9): b-sg.")
    assert json.loads((tmp_path / "out" / "analysis.json").read_text())["rules"]["seeds"] == "paired"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("mine.csv",), "mine.csv: --control NAME says which arm the others are held against; one of real only, b-sg"),
        (
            ("mine.csv", "--control", "real"),
            "mine.csv: no arm is called 'real', the control; did you mean",
        ),
        (("mine.csv", "--control", "b-sg", "--primary", "dise"), "no metric is called 'dise'; did you mean 'dice'?"),
        (("mine.csv", "--control", "b-sg", "--missing", "drop"), "mine.csv: missing:"),
        (("mien.csv", "--control", "b-sg"), "mine.csv'?"),
        (("broken.parquet", "--control", "b-sg"), "broken.parquet cannot be read as a table"),
        (("semicolons.csv", "--control", "b-sg"), "semicolons.csv: its columns are separated by ';' and not by ','"),
        (("twice.csv", "--control", "b-sg"), "twice.csv: two columns are called 'value'; keep one of them"),
        (("utf-16.csv", "--control", "b-sg"), "utf-16.csv is no text in UTF-8; save it as CSV UTF-8"),
        (("holes.csv", "--control", "b-sg"), "bring them in, or set missing: complete-cases"),
        (("mine.csv", "sweep.yaml", "--control", "b-sg"), "analyse them one after the other"),
        (("quickstart", "--control", "b-sg"), "--control is for tables; a sweep says it in its file"),
    ],
)
def test_a_mistake_is_one_line_that_speaks_of_no_sweep(
    medsweep: Medsweep, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    scores().to_csv(tmp_path / "mine.csv", index=False)
    scores().assign(value=lambda t: t["value"].where(t.index != 5)).to_csv(tmp_path / "holes.csv", index=False)
    scores().to_csv(tmp_path / "semicolons.csv", sep=";", index=False)
    twice = scores().assign(again=0.5).rename(columns={"again": "value"})
    twice.to_csv(tmp_path / "twice.csv", index=False)
    scores().to_csv(tmp_path / "utf-16.csv", index=False, encoding="utf-16")
    (tmp_path / "broken.parquet").write_bytes(b"no table")
    given = [tmp_path / word if word.partition(".")[2] in ("csv", "parquet", "yaml") else word for word in words]
    done = medsweep("analyse", *given)
    assert done.exit_code == 2, done.output
    assert len(done.output.strip().splitlines()) == 1
    assert complaint in done.output
    if words[0] != "quickstart":
        assert not any(word in done.output for word in ("medsweep run", "the sweep", "store"))
