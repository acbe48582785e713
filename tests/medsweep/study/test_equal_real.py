"""A pre-trained arm brings its own control of as many real steps."""

from pathlib import Path

from helpers.micro import write_micro
from medsweep.store.store import Store
from medsweep.study.plan import PlannedSweep, plan_sweep

FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
PRETRAINED = "{gan.pipeline: b-sg, synthesise.count: 4, segment.mixing: pretrain, segment.pretrain_share: %s}"


def planned(folder: Path, **arms: str) -> PlannedSweep:
    folder.mkdir(exist_ok=True)
    text = "factors: {}\narms:\n" + "".join(f"  {name}: {levels}\n" for name, levels in arms.items())
    return plan_sweep(write_micro(folder, (FACTORS, text)), Store.create(folder / "store"))


def steps(found: PlannedSweep, name: str) -> tuple[int, int]:
    settings = next(arm.settings for arm in found.arms if arm.name == name)
    return settings.segment.steps, settings.synthesise.count


def test_a_pretrained_arm_is_held_against_as_many_real_steps(tmp_path: Path) -> None:
    found = planned(tmp_path, few=PRETRAINED % 0.5, many=PRETRAINED % 0.75)
    whole = steps(found, found.arms[0].name)[0]
    half, quarter = whole - round(whole * 0.5), whole - round(whole * 0.75)
    assert steps(found, f"{half} real steps") == (half, 0)
    assert steps(found, f"{quarter} real steps") == (quarter, 0)
    assert found.sweep.analysis.contrasts == {
        f"few against {half} real steps": {"few": 1.0, f"{half} real steps": -1.0},
        f"many against {quarter} real steps": {"many": 1.0, f"{quarter} real steps": -1.0},
    }


def test_arms_with_as_many_real_steps_share_it_and_other_networks_have_their_own(tmp_path: Path) -> None:
    other = (PRETRAINED % 0.5).replace("}", ", segment.learning_rate: 0.002}")
    found = planned(tmp_path, one=PRETRAINED % 0.5, two=(PRETRAINED % 0.5).replace("b-sg", "mc-sg"), other=other)
    added = [arm.name for arm in found.arms if "real steps" in arm.name]
    assert len(added) == 2
    assert added[1].startswith("other, ")
    assert len(found.sweep.analysis.contrasts) == 3


def test_an_arm_of_the_file_that_is_the_control_already_is_taken(tmp_path: Path) -> None:
    found = planned(tmp_path, one=PRETRAINED % 0.5)
    half = next(arm.settings.segment.steps for arm in found.arms if "real steps" in arm.name)
    again = planned(tmp_path / "again", one=PRETRAINED % 0.5, mine=f"{{synthesise.count: 0, segment.steps: {half}}}")
    assert [arm.name for arm in again.arms][1:] == ["one", "mine"]
    assert list(again.sweep.analysis.contrasts.values()) == [{"one": 1.0, "mine": -1.0}]


def test_a_sweep_without_pretraining_stays_as_it_is(tmp_path: Path) -> None:
    found = planned(tmp_path, one="{gan.pipeline: b-sg, synthesise.count: 4}")
    assert [arm.name for arm in found.arms][1:] == ["one"]
    assert found.sweep.analysis.contrasts == {}
