import numpy as np
import pytest
from PIL import Image

from medsweep.trainers.training.pictures import GAP_PX, PALETTE, TILE_PX, grid_png


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = np.zeros((5, 32, 32), np.uint8)
    masks[:, 8:16, 8:16] = 2
    return rng.standard_normal((5, 2, 32, 32)).astype(np.float32), masks


def test_layout_and_clean_grey_image(tmp_path, pairs):
    picture = np.asarray(Image.open(grid_png(tmp_path / "new" / "grid.png", *pairs, columns=3)))
    assert picture.shape == (2 * TILE_PX + GAP_PX, 3 * 2 * TILE_PX + 2 * GAP_PX, 3)
    grey, overlay = picture[:TILE_PX, :TILE_PX], picture[:TILE_PX, TILE_PX : 2 * TILE_PX]
    assert (grey == grey[..., :1]).all()
    painted = (grey != overlay).any(axis=-1)
    assert painted[24:48, 24:48].all()
    assert painted.sum() == 24 * 24
    assert (picture[TILE_PX + GAP_PX :, 2 * (2 * TILE_PX + GAP_PX) :] == 255).all()


def test_classes_have_their_own_colours(tmp_path, pairs):
    images, masks = pairs
    masks[0, :8, :8] = 1
    picture = np.asarray(Image.open(grid_png(tmp_path / "g.png", images * 0, masks, 1, value_range=(0.0, 1.0))))
    np.testing.assert_allclose(picture[0, TILE_PX], 0.6 * PALETTE[1], atol=1)
    np.testing.assert_allclose(picture[30, TILE_PX + 30], 0.6 * PALETTE[2], atol=1)


def test_bytes_and_range_are_fixed(tmp_path, pairs):
    one, two = grid_png(tmp_path / "1.png", *pairs, 2), grid_png(tmp_path / "2.png", *pairs, 2)
    assert one.read_bytes() == two.read_bytes()
    assert grid_png(tmp_path / "3.png", *pairs, 2, value_range=(-9, 9)).read_bytes() != one.read_bytes()


def test_strangers_are_refused(tmp_path, pairs):
    with pytest.raises(ValueError, match="pairs of one size"):
        grid_png(tmp_path / "x.png", pairs[0][:4], pairs[1], 2)
