"""A network of another package, as its how-to is written: known by its entry point, and run to the report."""

from pathlib import Path

import pytest

from helpers.outside_package import HowTo, medsweep, python

NETWORK = HowTo("own-network.md", "dilated")


@pytest.mark.slow
def test_a_network_of_another_package_runs_to_the_report(tmp_path: Path) -> None:
    results = NETWORK.run(tmp_path)
    assert results.groupby("arm")["patient"].nunique().tolist() == [6, 6, 6]
    assert (tmp_path / "results" / "dilated" / "report.html").is_file()
    trained = [path.read_text() for path in (tmp_path / "store" / "segment").glob("*/output/network.json")]
    assert sum('"growth": 2' in text for text in trained) == sum('"growth": 3' in text for text in trained) == 2


@pytest.mark.slow
def test_a_network_of_another_package_keeps_the_contract_and_is_told(tmp_path: Path) -> None:
    NETWORK.install(tmp_path)
    (tmp_path / "test_dilated.py").write_text(NETWORK.block("python", 1))
    ran = python(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "test_dilated.py")
    assert ran.returncode == 0, ran.stdout
    assert "8 passed" in ran.stdout
    assert "dilated" in medsweep(tmp_path, "explain", "segment.network").stdout
    explained = medsweep(tmp_path, "explain", "dilated.growth").stdout
    assert "Factor by which the dilation grows" in explained
    assert "segment" in explained
    (tmp_path / "typo.yaml").write_text(NETWORK.block("yaml").replace("[dilated]", "[dilatd]"))
    told = medsweep(tmp_path, "plan", "typo.yaml", "--store", "store")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr
    assert "did you mean 'dilated'?" in told.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("points", "words"),
    [
        (
            "gan = dilated:NETWORK\n",
            "a network is called 'gan', as a section of sweep files is; rename its entry point",
        ),
        ("dilated = dilated:GONE\n", "network 'dilated' of dilated-segmenter (dilated:GONE) cannot be imported"),
        ("unet = dilated:NETWORK\n", "of dilated-segmenter (dilated:NETWORK) has a name that is taken"),
        ("dilated = dilated:Dilated\n", "is a type and no SegmenterNetwork"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_in_one_line(tmp_path: Path, points: str, words: str) -> None:
    NETWORK.install(tmp_path, points=points)
    (tmp_path / "dilated.yaml").write_text(NETWORK.block("yaml"))
    told = medsweep(tmp_path, "plan", "dilated.yaml", "--store", "store")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr
    assert words in told.stderr


@pytest.mark.slow
def test_a_network_that_sets_a_field_to_no_value_of_it_is_named_in_one_line(tmp_path: Path) -> None:
    script = NETWORK.block("python")
    NETWORK.install(tmp_path, script.replace("relative_cost=3.0,", 'relative_cost=3.0, recipe={"loss": "dice-cf"},'))
    (tmp_path / "dilated.yaml").write_text(NETWORK.block("yaml"))
    told = medsweep(tmp_path, "plan", "dilated.yaml", "--store", "store")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr
    assert "network 'dilated' sets fields of segment to what they cannot be: loss: should be" in told.stderr
    assert "did you mean 'dice-ce'?" in told.stderr
