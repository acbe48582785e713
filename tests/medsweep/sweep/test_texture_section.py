"""The section ``texture:``: every mistake is one line with its place and what to write instead."""

from pathlib import Path

import pytest

from helpers import toy
from medsweep.errors import UserError
from medsweep.sweep.texture import check_texture
from medsweep.texture import TextureArms

ARMS = ["real", "new", "raw", "blotched", "mended"]


def check(tmp_path: Path, section: str) -> TextureArms:
    sweep = toy.sweep_with(tmp_path, f"texture:\n{section}")
    check_texture(sweep, ARMS)
    assert sweep.file.texture is not None
    return sweep.file.texture


WHOLE = "  raw: raw\n  new_real: new\n  blotched: blotched\n  mends: [mended]\n"


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("raw: raw", "raw: row", ":6:", "no arm is called 'row'; did you mean 'raw'?"),
        ("[mended]", "[mendet]", ":9:", "did you mean 'mended'?"),
        ("new_real: new", "new_real: real", ":7:", "'real' is the control, which has no pool"),
        ("blotched: blotched", "blotched: new", ":8:", "'new' is named as new_real too; blotched takes"),
        (WHOLE, "  blotched: new\n  raw: raw\n  new_real: new\n", ":8:", "'new' is named as blotched too"),
        ("[mended]", "[mended, mended]", ":9:", "'mended' is named as mends too"),
        ("new_real", "new_reel", ":7:", "did you mean 'new_real'?"),
        ("  blotched: blotched\n", "", ":5:", "'blotched' is missing in texture"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, place: str, words: str) -> None:
    with pytest.raises(UserError) as found:
        check(tmp_path, WHOLE.replace(old, new))
    assert place in str(found.value)
    assert words in str(found.value)


def test_a_whole_section_passes(tmp_path: Path) -> None:
    assert check(tmp_path, WHOLE).mends == ("mended",)
