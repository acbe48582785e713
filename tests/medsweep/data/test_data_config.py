"""The data section: what it refuses, what may be left out, and what is no part of a digest."""

import pytest
from pydantic import ValidationError

from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.prepare import hours
from medsweep.errors import UserError
from medsweep.identity import digest_of
from medsweep.validation import parse
from medsweep.yamlfile import read_yaml


def test_where_the_files_lie_is_not_part_of_the_digest():
    a, b, c = (
        PrepareConfig(dataset="toy", root=root, resolution=resolution, source="0" * 64)
        for root, resolution in (("/a", 64), ("/b", 64), ("/a", 32))
    )
    assert digest_of("prepare", 1, a, {}) == digest_of("prepare", 1, b, {})
    assert digest_of("prepare", 1, a, {}) != digest_of("prepare", 1, c, {})
    assert hours(a) > hours(c) > 0


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"dataset": "zzz"}, "'zzz' needs data.root"),
        ({"dataset": "d-spleem"}, "did you mean 'd-spleen'"),
        ({"dataset": "phantom", "root": "/x"}, "made-up cohort has no folder; remove data.root"),
        ({"dataset": "spleen", "phantom": {}}, "no cohort can be made up for dataset 'spleen'"),
        ({"dataset": "kits19", "root": "/x", "labels": "segTRI"}, "labels of ibsr18"),
        ({"dataset": "kits19", "root": "/x", "intensity": {"scale": "window"}}, "a window goes with 'window'"),
        ({"dataset": "phantom", "resolution": 30}, "multiple of 8"),
        ({"dataset": "phantom", "resolution": 2048}, "1024"),
        ({"dataset": "phantom", "patients": 3}, "patients"),
    ],
)
def test_contradictory_data_sections_are_refused(given, what):
    with pytest.raises(ValidationError, match=what):
        DataConfig(**given)


def test_a_phantom_section_may_be_left_out():
    assert DataConfig(dataset="phantom") == DataConfig(dataset="phantom", phantom={"patients": 20})


def test_a_number_as_id_asks_for_quotes(tmp_path):
    (tmp_path / "x.yaml").write_text("dataset: x\nroot: /x\nleave_out: [7]\n")
    yaml = read_yaml(tmp_path / "x.yaml")
    with pytest.raises(UserError, match=r":3: leave_out.0: .*; text that is a number stands in quotes, with its zeros"):
        parse(DataConfig, yaml.data, yaml)
