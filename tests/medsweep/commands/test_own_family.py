"""A generator family of another package, as its how-to is written: known by its entry point, and run to the report."""

from pathlib import Path

import pytest

from helpers.outside_package import HowTo, medsweep, python

FAMILY = HowTo("own-family.md", "pca_pairs")


@pytest.mark.slow
def test_a_family_of_another_package_runs_to_the_report(tmp_path: Path) -> None:
    results = FAMILY.run(tmp_path)
    assert results["arm"].nunique() == 3
    assert results.groupby("arm")["patient"].nunique().tolist() == [6, 6, 6]
    assert len(list((tmp_path / "store" / "pca").glob("*/output/pca.npz"))) == 4
    assert "Synthetic pairs: pca" in (tmp_path / "results" / "pca" / "report.html").read_text()
    assert "Directions in which pairs vary." in medsweep(tmp_path, "explain", "pca.components").stdout
    (tmp_path / "typo.yaml").write_text(FAMILY.block("yaml").replace("pipeline: pca", "pipeline: pcb"))
    told = medsweep(tmp_path, "plan", "typo.yaml", "--store", "store")
    assert told.returncode == 2
    assert "did you mean 'pca'?" in told.stderr


PIPELINE = "pca = pca_pairs:PIPELINE\n"
STAGE = 'name="pca", version'


def test_a_family_of_another_package_keeps_the_contract(tmp_path: Path) -> None:
    FAMILY.install(tmp_path)
    (tmp_path / "test_pca.py").write_text(FAMILY.block("python", 1))
    ran = python(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "test_pca.py")
    assert ran.returncode == 0, ran.stdout
    assert "7 passed, 2 skipped" in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("points", "old", "new", "words"),
    [
        ("pca = pca_pairs:GONE\n", "", "", "pipeline 'pca' of pca-pairs (pca_pairs:GONE) cannot be imported"),
        ("b-sg = pca_pairs:PIPELINE\n", "", "", "of pca-pairs (pca_pairs:PIPELINE) has a name that is taken"),
        ("pca = pca_pairs:FAMILY\n", "", "", "is a GeneratorFamily and no Pipeline"),
        (PIPELINE, STAGE, 'name="gan", version', "family 'gan', and so is another"),
        (PIPELINE, STAGE, 'name="segment", version', "as a section of sweep files"),
        (PIPELINE, STAGE, 'name="score", version', "'score', as a stage is"),
        (PIPELINE, "Field(default=8, ge=1)", "Field(ge=1)", "must all have defaults"),
        (PIPELINE, '{"joint": (FAMILY', '{"mask": (FAMILY', "pairs reads generators by the names joint, got mask"),
        (
            PIPELINE,
            '"pca")}, pairs)',
            '"pca")}, pairs, True)',
            "a pipeline of pairs needs paints_real_masks=False, got True",
        ),
        (PIPELINE, "settings=PcaSettings", "settings=dict", "the settings of the generator family 'pca' are no Config"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, points: str, old: str, new: str, words: str
) -> None:
    script = FAMILY.block("python")
    assert old in script
    FAMILY.install(tmp_path, script.replace(old, new) if old else script, points=points)
    (tmp_path / "pca.yaml").write_text(FAMILY.block("yaml"))
    told = medsweep(tmp_path, "plan", "pca.yaml", "--store", "store")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr
    assert words in told.stderr
