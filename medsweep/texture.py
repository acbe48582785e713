"""The section ``texture:`` of a sweep file: which arms tell whether texture harms, and whether mending it helps."""

from collections.abc import Iterator

from medsweep.config import Config


class TextureArms(Config):
    """Arms by their part in the question of texture; all are arms of the sweep."""

    raw: str
    """The synthetic arm, with the texture that its generator gives it."""
    new_real: str
    """As many new real slices, of patients that are left out; shortfall is against it."""
    blotched: str
    """The same new real slices with the look of the pool of ``raw``, as by ``imitate`` with ``target: pool``."""
    mends: tuple[str, ...] = ()
    """``raw`` with texture nearer to real, by a treatment or by a loss of its generator."""

    def places(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every arm that is named, with its keys inside the section."""
        yield ("raw",), self.raw
        yield ("new_real",), self.new_real
        yield ("blotched",), self.blotched
        for place, arm in enumerate(self.mends):
            yield ("mends", place), arm
