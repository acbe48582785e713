"""What W&B is told of trials before they run: names that people can tell apart, groups, and settings."""

import pytest

from helpers.micro import write_micro
from medsweep.store.store import Store
from medsweep.study.mirror import RunCards
from medsweep.study.session import open_sweep
from medsweep.tracking.tracker import RunCard

WIDER = (
    ("  synthesise.count: [4]", "  synthesise.count: [4, 8]\n  gan.r1_gamma: [0.1, 1.0]"),
    ("{folds: 2, seeds: 1}", "{folds: 2, only: [0], seeds: 1}"),
)


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> list[RunCard]:
    folder = tmp_path_factory.mktemp("cards")
    Store.create(folder / "store")
    plan = open_sweep(write_micro(folder, *WIDER), folder / "store", to="plan").plan
    about = RunCards(plan, "phantom (made up)")
    return [about.card(digest) for digest in plan.trials]


def test_names_tell_trials_apart_by_what_was_set(cards: list[RunCard]) -> None:
    names = [card.name for card in cards]
    assert len(set(names)) == len(names)
    for stage, label in (("gan", "b-sg"), ("gan", "m-sg"), ("synthesise", "mc-sg"), ("assess", "b-sg")):
        for gamma in ("0.1", "1"):
            assert f"{stage} {label} fold 0 seed 0, gan.r1_gamma={gamma}" in names
    assert "score control fold 0 seed 0" in names
    assert not [card.name for card in cards if card.config["digest"][:6] in card.name]  # type: ignore[index]


def test_a_shared_generator_has_the_settings_in_which_its_arms_agree(cards: list[RunCard]) -> None:
    (card,) = [card for card in cards if card.name == "assess b-sg fold 0 seed 0, gan.r1_gamma=0.1"]
    assert (card.group, card.config["arms"]) == ("shared", "b-sg count=4 r1_gamma=0.1, b-sg count=8 r1_gamma=0.1")
    assert card.config["gan.r1_gamma"] == 0.1
    assert {"dose", "synthesise.count"}.isdisjoint(card.config), "its arms differ in it"
    assert {card.job_type for card in cards} >= {"prepare", "gan", "synthesise", "assess", "segment", "score"}
