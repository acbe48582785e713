"""What the networks of a GAN are built from, as a record that prices are counted on without building them."""

from typing import Final, Literal

from medsweep.config import Config
from medsweep.trainers.generators import MaskForm
from medsweep.trainers.stylegan2.config import PAINTERS, DiscriminatorForm, GanConfig, GeneratorForm, Point, Resize

LOWEST: Final = 4
"""Side in pixels of the features that G begins with and D ends with."""
SPADE_HIDDEN: Final = 128
"""Most feature maps between a mask and its scales and shifts in SPADE; its paper has as many everywhere."""


class Architecture(Config):
    """All that the shapes and the outputs of G and D depend on."""

    resolution: int
    channels: int
    """Channels that G emits and D sees: modalities, mask channels, or both."""
    mask_channels: int = 0
    """How many of them, the last ones, are a mask."""
    mask_form: MaskForm = "signed-distance"
    generator: Literal["stylegan2", "spade"] = "stylegan2"
    condition_channels: int
    """Channels of the condition; 0 where there is none."""
    points: tuple[Point, ...]
    injection_form: GeneratorForm = "add"
    discriminator_form: DiscriminatorForm = "concat"
    condition_resize: Resize = "area"
    latent_dim: int
    mapping_layers: int
    channel_base: int
    channel_max: int
    minibatch_std_group: int
    noise: bool = True

    @classmethod
    def of(cls, config: GanConfig, modalities: int, classes: int) -> "Architecture":
        """The networks of a GAN on slices with ``modalities`` images and ``classes`` classes, background included."""
        images = 0 if config.variant == "m-sg" else modalities
        masks = 0 if config.variant in PAINTERS else classes
        same = ("resolution", "latent_dim", "mapping_layers", "channel_base", "channel_max", "noise", "mask_form")
        forms = ("injection_form", "discriminator_form", "condition_resize")
        return cls(
            **{name: getattr(config, name) for name in same + forms},
            channels=images + masks,
            mask_channels=masks,
            generator="spade" if config.variant == "c-spade" else "stylegan2",
            condition_channels=classes if config.variant in PAINTERS else 0,
            points=config.injection,
            minibatch_std_group=config.group,
        )

    def width(self, r: int) -> int:
        """Feature maps at resolution r."""
        return max(4, min(self.channel_base // r, self.channel_max))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ..., R."""
        return tuple(2**power for power in range(2, self.resolution.bit_length()))

    @property
    def style_layers(self) -> int:
        """L: one per convolution of G and one for the last conversion to an image; SPADE reads the latent once."""
        return 1 if self.generator == "spade" else 2 * len(self.resolutions)

    @property
    def noise_pixels(self) -> tuple[int, ...]:
        """Pixels of the noise map of each convolution of G, in their order; empty without noise. P is their sum."""
        convolutions = [r for r in self.resolutions for _ in range(1 if r == LOWEST else 2)]
        return tuple(r * r for r in convolutions) if self.noise else ()

    def condition_width(self, point: Point) -> int:
        """Condition channels that features meet at a point; 0 where it is off or replaced by the projection."""
        if point != "generator" and self.discriminator_form == "projection":
            return 0
        return self.condition_channels if point in self.points else 0

    @property
    def joined_width(self) -> int:
        """Condition channels that convolutions of G read beside their features."""
        return self.condition_width("generator") if self.injection_form == "concat" else 0

    @property
    def projected_width(self) -> int:
        """Condition channels that D's score is given by projection."""
        on = self.discriminator_form == "projection" and {"d-input", "d-blocks"} & set(self.points)
        return self.condition_channels if on else 0
