"""Pictures of ranks and pairs: drawn from records, the same byte for byte, readable from 3 to 20 arms."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.published import wide
from medsweep.analysis.figures import critical_difference, rank_map
from medsweep.analysis.figures import pairwise as matrix
from medsweep.analysis.figures.critical_difference import draw_critical_difference, groups_of
from medsweep.analysis.figures.pairwise import WORSE_TO_BETTER, _full_colour, draw_pairwise, layout_of
from medsweep.analysis.figures.rank_map import draw_rank_map
from medsweep.analysis.figures.style import Drawn
from medsweep.analysis.stats.mean_ranks import bonferroni_dunn, nemenyi
from medsweep.analysis.stats.omnibus import friedman
from medsweep.analysis.stats.pairwise import pairwise
from medsweep.analysis.stats.rank_stability import ranking
from medsweep.metrics import SCORES

CONTROL = "real only"
SETTINGS = {"higher_is_better": True, "level": 0.95}


def table(k, n=24, gap=0.006, seed=0):
    rng = np.random.default_rng(seed)
    names = [CONTROL, *(f"gan.pipeline mc-sg, gan.injection discriminator, {20 * i} patients" for i in range(1, k))]
    values = rng.normal(0.8, 0.08, (n, 1)) + rng.normal(0, 0.02, (n, k)) + gap * rng.permutation(k)
    return wide(values.round(12).tolist(), names)


def ranked(data, alpha=0.05):
    omnibus = friedman(data, higher_is_better=True)
    settings = {"higher_is_better": True, "alpha": alpha}
    return omnibus, nemenyi(data, omnibus, **settings), bonferroni_dunn(data, omnibus, CONTROL, **settings)


def draw_all(data, folder):
    omnibus, pairs, dunn = ranked(data)
    return {
        "cd": draw_critical_difference(omnibus, pairs, dunn, folder / "cd"),
        "pairwise": draw_pairwise(
            pairwise(data, alpha=0.05, **SETTINGS), SCORES["dice"], folder / "pairwise", control=CONTROL
        ),
        "ranks": draw_rank_map(ranking(data, resamples=300, **SETTINGS), folder / "ranks", control=CONTROL),
    }


@pytest.fixture
def drawings(monkeypatch):
    """The figures instead of their files, to measure what is on them; the data are written all the same."""
    found = []

    def keep(drawing, stem, data):
        found.append(drawing)
        csv = stem.with_suffix(".csv")
        pd.DataFrame(data).to_csv(csv, index=False)
        return Drawn(stem, stem, csv, 7.2)

    for module in (critical_difference, matrix, rank_map):
        monkeypatch.setattr(module, "save", keep)
    return found


def overlaps(drawing: Figure, *, slack: float = 1.0):
    """Pairs of texts whose boxes share more than ``slack`` points each way."""
    renderer = drawing.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawing.axes[0].texts if text.get_text()]
    dots = slack * drawing.dpi / 72
    return [
        (a, b)
        for (a, one), (b, two) in itertools.combinations(boxes, 2)
        if min(one.x1, two.x1) - max(one.x0, two.x0) > dots and min(one.y1, two.y1) - max(one.y0, two.y0) > dots
    ]


@pytest.mark.parametrize("k", [3, 8, 20])
def test_no_text_covers_another_from_three_to_twenty_arms(k, tmp_path, drawings):
    draw_all(table(k, gap=0.02 / k), tmp_path)
    assert len(drawings) == 3
    for drawing in drawings:
        assert overlaps(drawing) == []
        assert drawing.get_size_inches()[0] == pytest.approx(7.2)


def test_numbers_stay_inside_their_cells(tmp_path, drawings):
    data = table(20, n=500)
    record = pairwise(data, alpha=0.05, **SETTINGS)
    draw_pairwise(record, SCORES["dice"], tmp_path / "pairwise")
    (drawing,) = drawings
    axes, renderer = drawing.axes[0], drawing.canvas.get_renderer()
    layout = layout_of([f"20  {arm}" for arm in record.arms], 20)
    inside = [text for text in axes.texts if text.get_position()[0] > 0 and text.get_position()[1] > 0]
    assert len(inside) == 20 * 19
    for text in inside:
        box = text.get_window_extent(renderer)
        assert box.width / drawing.dpi < layout.width
        assert box.height / drawing.dpi < layout.height


def test_pictures_repeat_byte_for_byte(tmp_path):
    data = table(3)
    first, second = draw_all(data, tmp_path / "a"), draw_all(data.iloc[::-1], tmp_path / "b")
    for name, drawn in first.items():
        for kind in ("svg", "png", "csv"):
            assert getattr(drawn, kind).read_bytes() == getattr(second[name], kind).read_bytes()
        assert drawn.width_in == second[name].width_in


def test_the_axis_runs_from_one_to_k_whatever_the_ranks(tmp_path, drawings):
    omnibus, pairs, dunn = ranked(table(7))
    draw_critical_difference(omnibus, pairs, dunn, tmp_path / "cd")
    texts = [text.get_text() for text in drawings[0].axes[0].texts]
    assert [text for text in texts if text in set("1234567")] == list("1234567")
    assert {"best", "worst"} <= set(texts)
    assert f"CD = {pairs.critical_difference:.2f} at alpha = 0.05" in texts
    caption = texts[-1]
    for said in ("n = 24 patients (blocks), k = 7 arms", "tie-corrected", "F(6, 138)", "Nemenyi", "6 comparisons"):
        assert said in caption
    assert [f"{rank:.2f}" in texts for rank in omnibus.mean_ranks] == [True] * 7


def test_elbows_do_not_cross_and_the_order_is_the_ranks():
    omnibus, pairs, _ = ranked(table(9))
    labels = critical_difference._labels(omnibus, groups_of(omnibus, pairs), CONTROL, 0.5)
    left, right = [one for one in labels if one.on_left], [one for one in labels if not one.on_left]
    assert len(left) == 5
    for side, outward in ((left, 1), (right, -1)):
        ranks, heights = [outward * one.rank for one in side], [one.y for one in side]
        assert ranks == sorted(ranks)
        assert heights == sorted(heights)


def test_bars_share_a_line_only_with_a_gap_between_them():
    omnibus, pairs, _ = ranked(table(20, n=400))
    groups = groups_of(omnibus, pairs)
    levels = critical_difference._levels(omnibus, groups)
    assert 0 < max(levels) < len(levels) - 1
    spans = [[omnibus.mean_ranks[groups.order[place]] for place in bar] for bar in groups.bars]
    for (one, a), (two, b) in itertools.combinations(zip(spans, levels, strict=True), 2):
        assert a != b or one[1] + 0.05 * 19 < two[0]


def test_the_band_around_the_control_is_the_critical_difference(tmp_path, drawings):
    omnibus, pairs, dunn = ranked(table(8, n=80))
    drawn = draw_critical_difference(omnibus, pairs, dunn, tmp_path / "cd")
    band = drawings[0].axes[0].collections[0].get_paths()[0].get_extents()
    centre = omnibus.mean_ranks[omnibus.arms.index(CONTROL)]
    assert band.x0 == pytest.approx(max(1, centre - dunn.critical_difference))
    assert band.x1 == pytest.approx(min(8, centre + dunn.critical_difference))
    data = pd.read_csv(drawn.csv).set_index("arm")
    assert math.isnan(data.loc[CONTROL, "p_bonferroni_dunn"])
    outside = data["mean_rank"].sub(centre).abs() > dunn.critical_difference
    assert (outside == (data["p_bonferroni_dunn"] < 0.05)).all()


def test_without_any_bar_the_picture_says_why(tmp_path, drawings):
    data = wide([[i / 100, 0.3 + i / 100, 0.6 + i / 100] for i in range(40)], [CONTROL, "a", "b"])
    omnibus, pairs, dunn = ranked(data)
    draw_critical_difference(omnibus, pairs, dunn, tmp_path / "cd")
    caption = drawings[0].axes[0].texts[-1].get_text()
    assert "tells every pair apart" in caption
    assert "= infinite" in caption


def test_the_matrix_shows_size_wins_and_p_and_not_by_colour_alone(tmp_path, drawings):
    record = pairwise(table(4, gap=0.02), alpha=0.05, **SETTINGS)
    drawn = draw_pairwise(record, SCORES["dice"], tmp_path / "pairwise", control=CONTROL)
    axes = drawings[0].axes[0]
    cells = [text for text in axes.texts if text.get_text().count("\n") == 2 and "/" in text.get_text()]
    assert len(cells) == 4 * 3 + 1  # and the legend
    bold = [cell for cell in cells if cell.get_fontweight() == "bold"]
    frames = [patch for patch in axes.patches if not patch.get_fill()]
    assert len(bold) == len(frames) == 2 * sum(pair.p_holm < 0.05 for pair in record.pairs) > 0
    up, down = (sum(mark in cell.get_text()[:1] for cell in cells) for mark in "\u25b2\u25bc")
    assert up == down == 6
    data = pd.read_csv(drawn.csv)
    assert data["difference"].tolist() == pytest.approx([pair.mean.value for pair in record.pairs])
    assert data["p_holm"].tolist() == pytest.approx([pair.p_holm for pair in record.pairs])


def test_better_is_blue_whatever_the_direction_of_the_metric(tmp_path, drawings):
    data = wide([[1.0 + i / 7, 2.0 + i / 5] for i in range(9)], ["a", "b"])
    for higher in (True, False):
        record = pairwise(data, higher_is_better=higher, alpha=0.05, level=0.95)
        draw_pairwise(record, SCORES["dice" if higher else "hd95_mm"], tmp_path / str(higher))
    for drawing, best in zip(drawings, "ba", strict=True):
        texts = [text.get_text() for text in drawing.axes[0].texts]
        assert f"1  {best}" in texts
        top_right = next(p for p in drawing.axes[0].patches if p.get_x() > 0.1 and p.get_y() == 0 and p.get_fill())
        assert top_right.get_facecolor() == pytest.approx(WORSE_TO_BETTER(1.0))


def test_an_arm_that_failed_does_not_bleach_the_others():
    data = table(8)
    record = pairwise(data.assign(broken=0.0), alpha=0.05, **SETTINGS)
    assert max(abs(pair.mean.value) for pair in record.pairs) > 0.5
    assert _full_colour(record) < 0.1


def test_ranks_that_tie_are_framed_together_and_the_data_hold_every_share(tmp_path, drawings):
    base = np.random.default_rng(0).normal(size=12)
    data = wide(np.stack([base, base, base - 1], axis=1).tolist(), ["a", "b", "c"])
    record = ranking(data, resamples=200, **SETTINGS)
    drawn = draw_rank_map(record, tmp_path / "ranks")
    frames = [patch for patch in drawings[0].axes[0].patches if not patch.get_fill()]
    widths = [frame.get_width() / 0.7 for frame in frames]
    assert widths == pytest.approx([2, 2, 1])
    assert [frame.get_x() / 0.7 for frame in frames] == pytest.approx([0, 0, 2])
    shares = pd.read_csv(drawn.csv)[["rank_1", "rank_2", "rank_3"]].to_numpy()
    assert shares == pytest.approx(np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]))
