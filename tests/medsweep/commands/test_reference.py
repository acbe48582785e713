"""``medsweep explain`` at the prompt."""

import pytest

from helpers.commanding import Medsweep


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "gan.kimg",
            ["Length of the training", "number above 0", "thousands of images", "read by gan", "default 2000"],
        ),
        ("segment", ["segment.steps", "segment.augment", "spatial"]),
        ("treat.treatments.blur", ["sigma_px", "SD of the Gaussian"]),
        ("resources", ["resources.STAGE.gpus"]),
    ],
)
def test_explain_tells_a_field_or_a_section(medsweep: Medsweep, name: str, words: list[str]) -> None:
    told = medsweep("explain", name)
    assert told.exit_code == 0, told.output
    assert [word for word in words if word not in " ".join(told.output.split())] == []


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("kimg", "gan.kimg"), ("gan.kimgs", "gan.kimg"), ("segmnt.steps", "segment.steps"), ("count", "synthesise.count")],
)
def test_explain_names_the_nearest_field(medsweep: Medsweep, wrong: str, meant: str) -> None:
    told = medsweep("explain", wrong)
    assert told.exit_code == 2
    assert f"did you mean {meant!r}" in told.output
