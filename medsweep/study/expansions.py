"""What arms were expanded to, kept from plan to plan of one search: each batch adds few arms to hundreds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from medsweep.study.chains import Chains
from medsweep.study.stages import Settings
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Builder, PlannedTrial

_Key = tuple[int, Replicate, tuple[int, ...]]


@dataclass(frozen=True)
class _Expansion:
    arm: Arm[Settings]
    """Held, so that no other arm gets its place in memory, by which it is found."""
    leaf: str
    trials: Mapping[str, PlannedTrial]
    extras: tuple[str, ...]


@dataclass(frozen=True)
class Expansions:
    """Chains of one sweep by arm, replicate and sizes of pools.

    All plans must have the same data and the same ``named`` arms, whose pools others may read.
    """

    named: tuple[Arm[Settings], ...]
    _known: dict[_Key, _Expansion] = field(default_factory=dict)

    def expand(self, chains: Chains, builder: Builder, arm: Arm[Settings], replicate: Replicate) -> str:
        """As ``chains.expand``, at most once for the same answer."""
        sizes = tuple(size for each in (arm, *self.named) for size in chains.sizes_of(each))
        key = (id(arm), replicate, sizes)
        known = self._known.get(key)
        if known is None:
            asked, extras = len(builder.asked), len(chains.extras)
            leaf = chains.expand(builder, arm, replicate)
            trials = _trials(builder, builder.asked[asked:])
            self._known[key] = _Expansion(arm, leaf, trials, tuple(chains.extras[extras:]))
            return leaf
        builder.take(known.trials)
        chains.extras += known.extras
        return known.leaf


def _trials(builder: Builder, digests: Iterable[str]) -> dict[str, PlannedTrial]:
    return {digest: builder.trials[digest] for digest in digests}
