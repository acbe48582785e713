"""The metrics of synthetic pools, of filters, and of what a network was trained on, one record each."""

from collections.abc import Mapping
from typing import Final

from medsweep.metric_record import Direction, Metric, Place

# fmt: off
_UTILITY: Final[tuple[Place, ...]] = ("utility",)
_FIDELITY: Final[tuple[Place, ...]] = ("utility", "fidelity")
_VARIETY: Final[tuple[Place, ...]] = ("utility", "variety")
_TEXTURE: Final[tuple[Place, ...]] = ("utility", "texture")
_MISFIT: Final[tuple[Place, ...]] = ("utility", "misfit")
_KYNKAANNIEMI: Final = "Kynkäänniemi et al. 2019"
_FLOOR: Final = "The same from one half of the real samples to the other: what a perfect generator would get."
_HALVES: Final = "The same from one half of the training patients to the other, with half the samples."
_TEXTURE_FLOOR: Final = "Mean distance from the best value between random halves of the training patients."

_AGREEMENT: Final[tuple[tuple[str, str, Direction, str, str, str, str], ...]] = (
    ("dice", "Dice", "higher", "0 to 1", "",
     "Dice of all foreground between the masks and what the judge sees in their images, mean over samples with any.",
     "Dice 1945"),
    ("hd95_px", "HD95", "lower", "0 up", "px",
     "HD95 of the contours of all foreground in mask and judge's view, mean over samples that are not missed.",
     "Huttenlocher et al. 1993"),
    ("assd_px", "ASSD", "lower", "0 up", "px",
     "ASSD of the contours of all foreground in mask and judge's view, mean over samples that are not missed.",
     "Heimann et al. 2009"),
    ("bias_px", "boundary bias", "middle", "any; above 0: the mask is larger", "px",
     "Signed distance from the contour of the judge's view to that of the mask, over both contours, mean over samples "
     "that are not missed.", ""),
    ("missed", "missed", "lower", "0 to 1",  "",
     "Share of the masks with foreground that nothing the judge sees overlaps.", ""),
)
"""Name, title, direction, range, unit, meaning and source of each measure of agreement."""

_PATTERNS: Final[tuple[tuple[str, str, Direction, str, str, str, tuple[Place, ...]], ...]] = (
    ("glcm_contrast_log_ratio", "GLCM contrast", "middle", "0 is best; below: too smooth",
     "Log contrast of co-occurring grey levels, synthetic over real, mean over distances of 1 and 2 px and modalities; "
     "16 levels between the 1st and 99th percentile of real slices.", "Haralick et al. 1973", ("texture",)),
    ("glcm_homogeneity_difference", "GLCM homogeneity", "middle", "0 is best; above: too smooth",
     "Homogeneity of the same, synthetic minus real.", "Haralick et al. 1973", ()),
    ("glcm_correlation_difference", "GLCM correlation", "middle", "0 is best; above: too smooth",
     "Correlation of the same, synthetic minus real.", "Haralick et al. 1973", ()),
    ("lbp_divergence", "local patterns", "lower", "0 to 1",
     "Jensen-Shannon divergence in bits of the 256 local binary patterns of 8 neighbours, mean over modalities.",
     "Ojala et al. 1996", ("texture",)),
    *((f"haar_log_ratio_{scale}", f"Haar details, scale {scale}", "middle", "0 is best; below: too smooth",
       f"Log energy of Haar details of about {2 ** (scale - 1)} px, synthetic over real, mean over modalities.", "",
       ("texture",) if scale == 1 else ())
      for scale in (1, 2, 3)),
)
"""Name, title, direction, range, meaning, source and place of each measure of fine texture."""

_LABEL_LAW: Final[tuple[tuple[str, str, Direction, str, str, str], ...]] = (
    ("bias_px", "bias", "middle", "any; above 0: masks are larger", "px",
     "Mean displacement of the masks' boundary from the judge's view, minus that of unseen real slices that were given "
     "the look of the pool; beyond an eighth of the side none counts."),
    ("random_px", "random", "lower", "0 up", "px",
     "Square root of the difference of the variances of these displacements, over all boundary pixels."),
    ("smooth_px", "smoothness", "none", "above 0", "px",
     "SD of the Gaussian that smooths such a field: half the distance at which the difference of the autocovariances "
     "falls to 1/e; not beyond 8."),
    ("flips", "flips", "lower", "near 0 up", "",
     "Share of mask components of 5 pixels or more most of which the judge gives another foreground class, minus that "
     "of these real slices."),
    ("lost", "lost", "lower", "near 0 up", "",
     "Share of mask components of which the judge sees no pixel, minus that of these real slices."),
    ("invented", "invented", "lower", "near 0 up", "",
     "Share of components that the judge sees and no pixel of the mask has, minus that of these real slices."),
)
"""Name, title, direction, range, unit and meaning of each measure of the label law."""


def _bounded(metric: Metric, ends: str, source: str) -> tuple[Metric, ...]:
    """A metric and both bounds of its interval, whose ``ends`` are told in a sentence."""
    return metric, *(
        Metric(f"{metric.name}_{end}", f"{metric.title}, {bound} bound", "none", "any", ends, source,
               metric.computed_by, unit=metric.unit)
        for end, bound in (("low", "lower"), ("high", "upper"))
    )


_ENDS: Final = "End of its 95 % interval, over samples and patients jointly; 2 patients or more."


def _resampled(metric: Metric) -> tuple[Metric, ...]:
    """A metric that is told beside unseen reals, and its bounds."""
    ends = (
        "End of its 95 % interval, over samples, by patient where they were made from real slices, and unseen patients "
        "jointly; 2 of each or more."
    )
    return _bounded(metric, ends, "Efron 1979")


POOLS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in (
    Metric("n_real", "real samples", "none", "2 up", "Foreground slices of the training patients.", "",
           "sample_counts"),
    Metric("n_pool", "synthetic samples", "none", "2 up", "Samples of the pool.", "", "sample_counts"),
    Metric("n_patients", "patients", "none", "1 up", "Patients that the real samples come from.", "", "sample_counts"),
    Metric("n_matched", "matched samples", "none", "2 up",
           "Samples on each side of every `frechet` but its interval and extrapolation, and of all floors.", "",
           "sample_counts"),
    Metric("n_equal", "equal samples", "none", "2 to 2000",
           "Samples on each side of `kid`, `kid_inception`, `precision` to `coverage` and `vendi`: the smaller of "
           "`n_real` and `n_pool`, at most 2000.", "", "sample_counts"),
    Metric("frechet", "Fréchet distance", "lower", "0 up",
           "Squared distance of the Gaussians fitted to both feature sets, mean over random halves of the patients.",
           "Heusel et al. 2017", "frechet", _FIDELITY),
    Metric("frechet_floor", "Fréchet floor", "none", "0 up", _FLOOR, "", "frechet_and_floor", ("fidelity",)),
    Metric("frechet_low", "Fréchet, low", "none", "0 up",
           "`frechet` plus the 2.5 % point of its deviations when 3 or more patients are resampled.", "Efron 1979",
           "frechet_spread"),
    Metric("frechet_high", "Fréchet, high", "none", "0 up", "The same at the 97.5 % point.", "Efron 1979",
           "frechet_spread"),
    Metric("frechet_infinity", "Fréchet, extrapolated", "lower", "near 0 up",
           "Intercept of a line over 1/n through 10 sizes, both sides cut; 100 samples or more, useful from 500.",
           "Chong and Forsyth 2020", "frechet_infinity", _UTILITY),
    Metric("frechet_random", "Fréchet, random features", "lower", "0 up",
           "As `frechet`, on a convolutional network with fixed random weights.", "", "frechet_and_floor", _UTILITY),
    Metric("frechet_random_floor", "Fréchet floor, random features", "none", "0 up", _FLOOR, "", "frechet_and_floor"),
    Metric("frechet_decoder", "Fréchet, decoder features", "lower", "0 up",
           "As `frechet`, on bottleneck and decoder stages of the segmenter, each feature scaled to SD 1, on the "
           "principal components of the real side alone; a feature distance on a segmenter is our proposal.", "",
           "frechet_and_floor", _UTILITY),
    Metric("frechet_decoder_floor", "Fréchet floor, decoder features", "none", "0 up", _FLOOR, "", "frechet_and_floor"),
    Metric("frechet_decoder_dims", "components, decoder features", "none", "1 to 64",
           "Number of those components: 64, a quarter of `n_real` or the rank, the smallest.", "",
           "principal_components"),
    Metric("frechet_inception", "FID", "lower", "0 up",
           "As `frechet`, on the 2048 pooled features per modality of Inception-v3; only with `assess.inception`.",
           "Heusel et al. 2017", "inception_distances", _UTILITY),
    Metric("frechet_inception_floor", "FID floor", "none", "0 up", _FLOOR, "", "frechet_and_floor"),
    Metric("kid_inception", "KID", "lower", "near 0 up", "As `kid`, on the features of Inception-v3.",
           "Binkowski et al. 2018", "inception_distances", _UTILITY),
    Metric("kid", "kernel distance", "lower", "near 0 up",
           "Squared MMD with the kernel (x'y/d + 1)^3, unbiased, over all pairs.", "Binkowski et al. 2018", "kid",
           _FIDELITY),
    Metric("kid_p", "p of kernel distance", "none", "0 to 1",
           "Share of shuffled labellings at least as far apart; too small, since slices of a patient are not "
           "exchangeable.", "Gretton et al. 2012", "kid"),
    Metric("kid_floor", "kernel distance floor", "none", "near 0 up", "`kid` between the halves.", "",
           "mmd", ("fidelity",)),
    Metric("precision", "precision", "higher", "0 to 1",
           "Share of synthetic samples in the ball of a real one that reaches to its 3rd neighbour.", _KYNKAANNIEMI,
           "prdc", _FIDELITY),
    Metric("precision_floor", "precision floor", "none", "0 to 1", _HALVES, "", "prdc", ("fidelity",)),
    Metric("recall", "recall", "higher", "0 to 1", "Share of real samples in such a ball of a synthetic one.",
           _KYNKAANNIEMI, "prdc", _VARIETY),
    Metric("recall_floor", "recall floor", "none", "0 to 1", _HALVES, "", "prdc", ("variety",)),
    Metric("density", "density", "higher", "0 up; about 1 at equal laws",
           "Real balls (5th neighbour) that a synthetic sample lies in, mean, over 5.", "Naeem et al. 2020", "prdc",
           _UTILITY),
    Metric("density_floor", "density floor", "none", "0 up", _HALVES, "", "prdc"),
    Metric("coverage", "coverage", "higher", "0 to 1", "Share of real balls (5th neighbour) with a synthetic sample.",
           "Naeem et al. 2020", "prdc", _VARIETY),
    Metric("coverage_floor", "coverage floor", "none", "0 to 1", _HALVES, "", "prdc", ("variety",)),
    Metric("vendi", "Vendi score", "higher", "1 to `n_equal`; best as `vendi_real`",
           "Exponential of the entropy of the eigenvalues of K/n with K = exp(-d^2 / 2 r^2), where r is the median "
           "distance of real samples to their 5th neighbour.", "Friedman and Dieng 2023", "vendi", _VARIETY),
    Metric("vendi_real", "Vendi score of real samples", "none", "1 to `n_equal`", "The same for as many real samples.",
           "", "vendi", ("variety",)),
    Metric("varied_as_patients", "as varied as at most so many patients", "higher", "above 0 to `n_patients`",
           "Training patients whose slices have the Vendi score of the pool's first 500 samples, mean over 5 draws of "
           "patients, by interpolation in logarithms; below 1, the share of one patient's score. Images unlike any "
           "real one count as varied too, so read it beside recall.",
           "Friedman and Dieng 2023 (score)", "as_varied", _VARIETY),
    Metric("varied_as_patients_low", "patients, least", "none", "above 0", "The least of the draws.", "", "as_varied",
           ("variety",)),
    Metric("varied_as_patients_high", "patients, most", "none", "above 0", "The most of the draws.", "", "as_varied",
           ("variety",)),
    Metric("authenticity", "authenticity", "middle", "0 to 1; best as `authenticity_real`; copies give 0",
           "Share of synthetic samples farther from their nearest training slice than that is from any other.",
           "Alaa et al. 2022, Stein et al. 2023", "authenticity", _VARIETY),
    Metric("authenticity_real", "authenticity of real samples", "none", "0 to 1",
           "The same for one half of the patients, taken as synthetic, against the other.", "",
           "authenticity", ("variety",)),
    Metric("nearest_ratio", "nearest ratio", "middle", "0 up; 1: as far as an unseen patient; copies give 0",
           "Median distance to the nearest training slice, over that from a training slice to the nearest of other "
           "patients.", "", "nearest_ratio", _UTILITY),
    Metric("radial_psd_log_error", "spectral error", "lower", "0 up",
           "Mean of abs(log P_synthetic - log P_real) over frequencies above a quarter of Nyquist.",
           "Durall et al. 2020 (spectrum)", "spectral_differences", _TEXTURE),
    Metric("radial_psd_log_error_floor", "spectral error floor", "none", "0 up", _TEXTURE_FLOOR, "",
           "halves_apart", ("texture",)),
    Metric("high_frequency_log_error", "signed spectral error", "middle", "0 is best; below: too smooth",
           "The same with its sign.", "", "spectral_differences", _TEXTURE),
    Metric("high_frequency_log_error_floor", "signed spectral error floor", "none", "0 up", _TEXTURE_FLOOR, "",
           "halves_apart", ("texture",)),
    Metric("spectral_slope_difference", "spectral slope", "middle", "0 is best; below: falls off too fast",
           "Slope of log P over log f, synthetic minus real.", "", "spectral_differences", _TEXTURE),
    Metric("spectral_slope_difference_floor", "spectral slope floor", "none", "0 up", _TEXTURE_FLOOR, "",
           "halves_apart", ("texture",)),
    Metric("laplacian_ratio", "Laplacian ratio", "middle", "0 up; 1 is best; below: too smooth",
           "Variance of the five-point Laplacian, synthetic over real, mean over modalities.", "", "laplacian_ratio",
           _TEXTURE),
    Metric("laplacian_ratio_floor", "Laplacian ratio floor", "none", "0 up", _TEXTURE_FLOOR, "",
           "halves_apart", ("texture",)),
    *(record for name, title, direction, span, meaning, source, places in _PATTERNS for record in (
        Metric(name, title, direction, span, meaning, source, "differences", places),
        Metric(f"{name}_floor", f"{title} floor", "none", "0 up", _TEXTURE_FLOOR, "", "differences", places),
    )),
    *(Metric(f"gram_ratio_{level}", f"Gram ratio, level {level}", "lower", "0 up; 1: as halves of the patients",
             f"Mean squared difference of the Gram matrices of the judge's encoder level {level}, over that between "
             "random halves of the training patients; U-Nets alone.", "Gatys et al. 2015 (Gram matrix)", "differences",
             ("texture",) if level == 1 else ())
      for level in (1, 2)),
    *(Metric(f"mask_ks_{name}", f"mask {name.replace('_', ' ')}", "lower", "0 to 1",
             f"Kolmogorov-Smirnov statistic of the {name.replace('_', ' ')} of masks, mean over classes"
             f"{'' if name == 'area' else '; over masks that show the class'}.", "", "shape_distances", _UTILITY)
      for name in ("area", "perimeter", "compactness", "components", "centroid_row", "centroid_column")),
    Metric("mask_nearest_hd95_px", "distance to nearest mask", "middle",
           "0 up; best as `mask_nearest_hd95_px_real`; copies give 0",
           "HD95 from a mask's foreground to that of the training mask with the largest Dice, centroids in one place, "
           "mean over at most 200 evenly spread masks with any.", "HD95: Huttenlocher et al. 1993", "mean_hd95_to",
           _UTILITY, "px"),
    Metric("mask_nearest_hd95_px_real", "distance between real masks", "none", "0 up",
           "The same from training masks to those of other patients; 2 patients or more.", "", "mean_hd95_between",
           unit="px"),
    Metric("mask_nearest_hd95_gap_px", "gap to nearest mask", "middle",
           "0 is best; above: shapes no patient has; below: copies", "The first minus the second.", "",
           "mask_novelty", _UTILITY, "px"),
    Metric("n_unseen", "unseen real slices", "none", "0 up",
           "Foreground slices of training and validation patients that the judge was not fitted on.", "",
           "consistency"),
    Metric("n_unseen_patients", "unseen patients", "none", "0 up", "Patients that they come from.", "", "consistency"),
    *(record for name, title, direction, span, unit, meaning, source in _AGREEMENT for record in (
        Metric(f"consistency_{name}", f"consistency, {title}", direction, span, meaning, source, "consistency",
               _UTILITY, unit),
        Metric(f"consistency_{name}_in_use", f"consistency of real slices in use, {title}", "none", span,
               "The same on the real training slices.", "", "consistency", unit=unit),
        Metric(f"consistency_{name}_unseen", f"consistency of unseen real slices, {title}", "none", span,
               "The same on real slices that the judge was not fitted on.", "", "consistency", unit=unit),
        *_resampled(
            Metric(f"excess_{name}", f"excess over unseen reals, {title}", direction,
                   "0 is as unseen real slices" + ("; above: larger masks than those" if name == "bias_px" else ""),
                   f"`consistency_{name}` minus `consistency_{name}_unseen`.", "", "excess_over_unseen",
                   _MISFIT if name in ("hd95_px", "bias_px", "missed") else _UTILITY, unit)),
        *(Metric(f"class_K/excess_{name}{end}", f"excess over unseen reals of class K, {title}{bound}", "none", "any",
                 f"`excess_{name}{end}` of the class alone.", "", "excess_over_unseen", unit=unit)
          for end, bound in (("", ""), ("_low", ", lower bound"), ("_high", ", upper bound"))),
    )),
    *(record for name, title, direction, span, unit, meaning in _LABEL_LAW for record in _resampled(
        Metric(f"law_{name}", f"misfit of labels, {title}", direction, span, meaning, "", "label_law", unit=unit))),
    *_bounded(
        Metric("law_patients", "as varied as so many patients left out", "higher", "above 0",
               "Training patients left out whose slices have the Vendi score of the pool's first 500 samples once "
               "these have the look of real slices; mean over 5 draws, never more than all of them.",
               "Friedman and Dieng 2023", "as_many_patients"),
        "The least and the most of the draws.", ""),
    *(record for name, title, direction, span, unit, _ in _LABEL_LAW for record in _resampled(
        Metric(f"class_K/law_{name}", f"misfit of class K, {title}", direction, span,
               f"As `law_{name}`, of class K alone.", "", "label_law", unit=unit))),
    *(record for place, where in (("boundary", "within 1.5 px of the foreground's edge"), ("inside", "further in"))
      for record in _resampled(
        Metric(f"class_K/law_confident_{place}", f"confident errors of class K, {place}", "lower", "near 0 up",
               f"Share of the pixels with label K {where} that the judge is sure have another class, minus that of "
               "unseen real slices with the look of the pool.", "Northcutt et al. 2021", "confident_errors"))),
    *_resampled(
        Metric("law_confident_larger", "masks confidently larger", "middle", "any; above 0: masks are larger",
               "Of the pixels within 1.5 px of the edge, the share in the mask's foreground that the judge is sure is "
               "background, minus the opposite; that of unseen real slices with the look of the pool is taken off.",
               "Northcutt et al. 2021", "confident_errors")),
    *_bounded(
        Metric("law_edge_offset_px", "offset of the edge", "middle", "-2 to 2; above 0: masks are larger",
               "How much further in from the mask's boundary intensities run as they do in slices in use. No segmenter "
               "is asked; good to about 0.3 px.", "", "edge_fit", unit="px"),
        _ENDS, "Efron 1979"),
    Metric("law_edge_offset_px_floor", "offset of the edge, floor", "none", "0 to 2",
           "Mean size of the same between random halves of the training patients.", "", "edge_fit", unit="px"),
    *_bounded(
        Metric("law_edge_width", "width of the edge", "middle", "1 is best; above: blurred",
               "SD of the distance from the boundary under the steepness of intensities, within 4 px, over that of "
               "slices in use; mean over modalities.", "", "edge_fit"),
        _ENDS, "Efron 1979"),
    Metric("law_vendi", "Vendi score, with the look of reals", "higher", "1 up",
           "Vendi score of the pool's first 500 samples, given the look of real slices, by the kernel of patients left "
           "out; what `law_patients` is read off with.", "Friedman and Dieng 2023", "variety"),
    Metric("law_judges_differ", "judges differ", "none", "0 or 1",
           "1 where the intervals of `law_bias_px` or of `law_random_px` by the control's segmenter and by that of the "
           "patients left out lie apart; told of an explained pool, and with `assess.judge: both`.", "",
           "judges_differ"),
    Metric("law_look", "look", "lower", "0 up",
           "Mean of `radial_psd_log_error` and of the size of the log ratio of local SD (5 x 5 pixels) to real slices "
           "in use, over modalities and the classes that the judge sees, in nats.", "", "look_of_pool"),
    Metric("law_class_quantiles", "intensities by class", "lower", "0 up; in SD",
           "Mean distance between the intensities of pool and real slices at the same quantile, over modalities and "
           "the classes that the judge sees, over the SD of the modality. The slices are those that looks are planted "
           "in: of patients left out, or of those in use where none are.", "", "look_law"),
    Metric("law_class_quantiles_floor", "intensities by class, floor", "none", "0 up; in SD",
           "97.5 % point of the same between as few of these patients, drawn at random, and the others.", "",
           "look_law"),
    Metric("law_look_shown", "look shown", "none", "0 or 1",
           "1 where the look of the pool differs from that of these slices by more than as few real patients do, in "
           "intensities by class or in what `law_look` measures; else no look of it is planted.", "", "look_law"),
    Metric("law_domain_auc", "AUC of the domain", "none", "0 to 1",
           "Chance that a linear classifier on the judge's first level ranks an unseen sample of the pool above an "
           "unseen real one.", "Friedman 1989", "domain_auc"),
    *(Metric(f"law_domain_auc_floor_{end}", f"AUC of the domain, floor, {bound}", "none", "0 to 1",
             f"The {bound} of the same between random halves of the unseen patients.", "", "domain_auc")
      for end, bound in (("low", "least"), ("high", "most"))),
    Metric("law_vendi_share", "Vendi share", "higher", "0 up; 1 is as varied",
           "Vendi score of the pool with the look of real slices, over that of as many unseen ones: of validation "
           "patients, or else of those in use.", "Friedman and Dieng 2023", "variety_beside_unseen"),
    Metric("iou_mean", "IoU, mean", "higher", "0 to 1",
           "Mean of the per-sample IoU in `scores.parquet`, itself a mean over the classes in either mask.", "",
           "mean_iou", _MISFIT),
    Metric("iou_median", "IoU, median", "higher", "0 to 1", "Median of the same.", "", "mean_iou", _UTILITY),
    Metric("valid_share", "valid masks", "none", "0 to 1; higher is better",
           "Share of generated masks in which every class is like one of the real masks.", "", "valid_share",
           ("misfit",)),
    Metric("spoiled_share", "spoiled samples", "none", "0 to 1",
           "Share of the pool that a treatment spoiled on purpose; only where one did.", "", "auc_of_spoiled",
           ("misfit",)),
    Metric("spoiled_auc", "spoiled samples found", "higher", "0 to 1; 0.5 is chance",
           "Chance that a spoiled sample has a lower IoU than one that is not, ties half.", "Hanley and McNeil 1982",
           "auc_of_spoiled", _MISFIT),
    Metric("class_K/empty", "maps without class K", "none", "0 to 1", "Share of generated maps without class K.", "",
           "summary"),
    Metric("class_K/components", "components of class K", "none", "1 up", "Mean over the maps that show the class.",
           "", "summary"),
    Metric("class_K/holes", "holes in class K", "none", "0 to 1", "Share with any hole of the maps that show it.", "",
           "summary"),
    Metric("class_K/largest_share", "largest component of class K", "none", "0 to 1",
           "Share of the class in its largest component, mean over the maps that show it.", "", "summary"),
    Metric("generated", "generated", "none", "0 up", "Samples that a filter looked at.", "", "survivors",
           ("filters",)),
    Metric("kept", "kept", "none", "0 up", "Samples that it kept.", "", "survivors"),
    Metric("retention", "retention", "none", "0 to 1", "Share kept of those looked at.", "", "survivors",
           ("filters", "utility")),
    Metric("kept_vendi", "kept vendi", "none", "1 to `kept`", "As `vendi`, of what a filter kept.",
           "Friedman and Dieng 2023", "survivors", ("filters",)),
    Metric("random_vendi", "random vendi", "none", "1 to `kept`",
           "The same of as many samples drawn at random, mean over draws.", "", "survivors", ("filters",)),
    Metric("kept_coverage", "kept coverage", "none", "0 to 1", "As `coverage`, of what a filter kept.",
           "Naeem et al. 2020", "survivors", ("filters",)),
    Metric("random_coverage", "random coverage", "none", "0 to 1",
           "The same of as many samples drawn at random, mean over draws.", "", "survivors", ("filters",)),
    Metric("kept_area_ratio", "kept area ratio", "none", "0 up",
           "Mean foreground area of the kept samples over that of all looked at.", "", "survivors", ("filters",)),
    *(Metric(f"pixels_ignored{part}", f"{what} left out", "none", "0 to 1",
             f"Share of the {of} of all synthetic samples that `segment.max_pixel_loss` leaves out of the loss.",
             "Yang et al. 2023", "without_doubted", ("filters",))
      for part, what, of in (("", "pixels", "pixels"), ("_foreground", "foreground", "foreground pixels"),
                             ("_boundary", "boundary", "pixels within 1.5 px of the foreground's edge"))),
    Metric("synthetic_weight_mean", "mean weight of the synthetic loss", "none", "0 to 1",
           "Mean over all steps of what a gate sets; only where `segment.synthetic_gate` does.", "Du et al. 2018",
           "exposure", ("exposure",)),
    *(Metric(f"{kind}_slices{seen}", f"{kind} slices{seen.replace('_', ' ')}", "none", "0 up",
             f"{kind.title()} training slices{' shown to the network in all steps' if seen else ''}.", "", "exposure",
             ("exposure",))
      for seen in ("", "_seen") for kind in ("real", "synthetic")),
)}
"""What is known of a synthetic pool, and of what a network was trained on, by name; K stands for the class."""
# fmt: on
