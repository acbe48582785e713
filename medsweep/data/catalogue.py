"""The datasets medsweep knows by name: how each is read, what its owners ask for, and what surprises its readers.

Nothing here is downloaded; every user obtains a dataset from its organisers. Statements that no source or file has
confirmed carry the word "unverified".
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from medsweep.data.dataset import DatasetSpec, Intensity
from medsweep.data.layouts import brats, decathlon, ibsr, kits

DECATHLON_QUIRKS = (
    "archives carry AppleDouble files (._*), and some re-made dataset.json list them as cases; they are left out",
    "the test cases have no labels; a 'validation' set made by other tools is a share of the labelled cases",
)
SHARE_ALIKE = "adapted material is shared under the same licence, with attribution"

BRATS20 = DatasetSpec(
    name="brats20",
    title="BraTS 2020: multimodal brain tumour segmentation",
    layout="brats",
    list_cases=brats.cases,
    modalities=("t1", "t1ce", "t2", "flair"),
    classes=("background", "necrotic-core", "oedema", "enhancing-tumour"),
    values={0: 0, 1: 1, 2: 2, 4: 3},
    regions={
        "WT": ("necrotic-core", "oedema", "enhancing-tumour"),
        "TC": ("necrotic-core", "enhancing-tumour"),
        "ET": ("enhancing-tumour",),
    },
    units="arbitrary (MR); the background is exactly 0",
    cases="369 labelled, 125 validation cases without labels; the test set is not public",
    licence="no open licence",
    terms="registration with the organisers, research use, citation; images are never redistributed",
    publishable=False,
    where="register with the organisers of the challenge; they distribute .nii.gz, a widespread copy has plain .nii",
    expected="""\
BraTS20_Training_001/
  BraTS20_Training_001_t1.nii.gz
  BraTS20_Training_001_t1ce.nii.gz
  BraTS20_Training_001_t2.nii.gz
  BraTS20_Training_001_flair.nii.gz
  BraTS20_Training_001_seg.nii.gz
... BraTS20_Training_369/
(.nii works too, and so do up to two folders around the patients)""",
    slice_axis="axial",
    intensity=Intensity(scale="z-score", inside="nonzero"),
    mirrored="left-right",
    citation="the papers that the organisers name at registration",
    quirks=(
        "240x240x155 voxels of 1 mm, co-registered and skull-stripped; at 256 pixels a slice is padded, never resized",
        "stored labels are 0, 1, 2 and 4; there is no 3",
        "the mask of case 355 lies under another name, W39_1998.09.19_Segm.nii; it is found and reported",
        "some cases have no enhancing tumour; the Dice of an empty class must be declared",
        "other tools use other channel orders; here it is t1, t1ce, t2, flair",
    ),
)

KITS19 = DatasetSpec(
    name="kits19",
    title="KiTS19: kidney and kidney tumour segmentation",
    layout="kits",
    list_cases=kits.cases,
    modalities=("CT",),
    classes=("background", "kidney", "tumour"),
    values={0: 0, 1: 1, 2: 2},
    regions={"kidney+tumour": ("kidney", "tumour")},
    units="HU",
    cases="210 labelled, 90 without labels",
    licence="CC BY-NC-SA 4.0",
    terms=f"non-commercial; {SHARE_ALIKE}",
    publishable=True,
    where="labels: github.com/neheller/kits19; images: python3 -m starter_code.get_imaging in a clone of it",
    expected="""\
data/
  case_00000/
    imaging.nii.gz
    segmentation.nii.gz
  ... case_00209/
  case_00210/
    imaging.nii.gz
  ... case_00299/""",
    slice_axis="axial",
    intensity=Intensity(scale="window", window=(-79.0, 304.0)),
    citation="Heller et al. 2019, arXiv 1904.00445; Heller et al. 2021, Medical Image Analysis 67:101821",
    quirks=(
        "arrays are (slices, height, width): the body axis comes first, and the affine says so",
        "nine labels have a qform only: 00015 00023 00037 00039 00116 00125 00144 00157 00176",
        "case_00160 is 512x796 in the plane; every other case is 512x512",
        "slice thickness runs from 0.5 to 5 mm, and 29 to 1059 slices make a case",
        "scored are kidney and tumour together and tumour alone; cysts count as kidney",
        "copies older than April 2019 and December 2019 differ in corrected cases; see the changelog of its repository",
    ),
)

IBSR18 = DatasetSpec(
    name="ibsr18",
    title="IBSR18: tissue segmentation of 18 brains",
    layout="ibsr",
    list_cases=ibsr.cases,
    label_files=ibsr.LABEL_FILES,
    modalities=("T1",),
    classes=("background", "csf", "grey-matter", "white-matter"),
    values={0: 0, 1: 1, 2: 2, 3: 3},
    units="arbitrary (MR)",
    cases="18 labelled; the teaching copy has 10 + 5 labelled and 3 without labels (unverified)",
    licence="stripped images declared public domain by their preparer, with the original terms attached",
    terms="name the source in the given wording, report results back to IBSR, no anatomical or morphological studies "
    "without leave, permission before publishing any image or segmentation",
    publishable=False,
    where='NITRC project ibsr, "IBSR_V2.0 skull-stripped NIfTI", www.nitrc.org/frs/shownotes.php?release_id=2316',
    expected="""\
IBSR_nifti_stripped/
  IBSR_01/
    IBSR_01_ana_strip.nii.gz
    IBSR_01_segTRI_fill_ana.nii.gz
    IBSR_01_segTRI_ana.nii.gz
  ... IBSR_18/
or the teaching copy (file names unverified):
IBSR_01/
  IBSR_01.nii.gz
  IBSR_01_seg.nii.gz""",
    slice_axis="second",
    intensity=Intensity(scale="z-score", inside="nonzero"),
    mirrored="left-right",
    citation="the Internet Brain Segmentation Repository, in the wording of its terms",
    quirks=(
        "arrays are (256, 128, 256, 1): the fourth axis is dropped",
        "slices are cut along the second array axis, 256x256 each; that it is the coronal 1.5 mm axis is unverified",
        "segTRI_fill counts sulcal CSF as CSF, segTRI as background; the choice is recorded",
        "the Analyze copy opens mirrored against the NIfTI copy; it is refused",
        "brightness and contrast differ strongly; reported are little contrast in 05 and 15, dark images in 11 and 12",
        "spacing differs between subjects (unverified)",
    ),
)

D_HEART = DatasetSpec(
    name="d-heart",
    title="D-HEART: Medical Segmentation Decathlon Task02_Heart",
    layout="decathlon",
    list_cases=decathlon.cases,
    modalities=("MR",),
    classes=("background", "left-atrium"),
    values={0: 0, 1: 1},
    units="arbitrary (MR)",
    cases="20 labelled, 10 without labels",
    licence="CC-BY-SA 4.0",
    terms=SHARE_ALIKE,
    publishable=True,
    where="Task02_Heart of the Medical Segmentation Decathlon, from its organisers",
    expected="""\
Task02_Heart/
  dataset.json
  imagesTr/la_003.nii.gz ...
  labelsTr/la_003.nii.gz ...""",
    slice_axis="axial",
    intensity=Intensity(scale="z-score", inside="all"),
    citation="Antonelli et al. 2022, DOI 10.1038/s41467-022-30695-9",
    quirks=(
        "20 patients only: with five folds a fold tests on four",
        "320x320 pixels of 1.25 mm, 90 to 130 slices of 1.37 mm",
        *DECATHLON_QUIRKS,
    ),
)

D_SPLEEN = replace(
    D_HEART,
    name="d-spleen",
    title="D-SPLEEN: Medical Segmentation Decathlon Task09_Spleen",
    modalities=("CT",),
    classes=("background", "spleen"),
    units="HU",
    cases="41 labelled, 20 without labels",
    where="Task09_Spleen of the Medical Segmentation Decathlon, from its organisers",
    expected="""\
Task09_Spleen/
  dataset.json
  imagesTr/spleen_2.nii.gz ...
  labelsTr/spleen_2.nii.gz ...""",
    intensity=Intensity(scale="window", window=(-57.0, 164.0)),
    quirks=(
        "case numbers are not padded: spleen_2 comes before spleen_10",
        "slices are 1.5 to 8 mm thick, 31 to 168 of them",
        "another study reports trouble with spleen_37",
        *DECATHLON_QUIRKS,
    ),
)

U_PRO = DatasetSpec(
    name="u-pro",
    title="U-PRO: private pelvis data",
    layout="folder",
    list_cases=None,
    modalities=(),
    classes=(),
    values={},
    units="unknown; state them in the description",
    cases="unknown",
    licence="private",
    terms="those of its owners",
    publishable=False,
    where="not public. Public stand-ins: MSD Task05_Prostate (T2 and ADC, CC-BY-SA 4.0), PROMISE12, PROSTATEx with the "
    "masks of github.com/rcuocolo/PROSTATEx_masks, PI-CAI with github.com/DIAGNijmegen/picai_labels, Gold Atlas male "
    "pelvis (19 patients, MR and CT, on request; unverified)",
    expected="""\
medsweep.yaml
  modalities: {T2: "case_{id}/imaging.nii.gz"}
  mask: "case_{id}/segmentation.nii.gz"
  classes: {prostate: 1}
and the files it names (modality, pattern and class are examples)""",
    slice_axis="axial",
    intensity=Intensity(),
    citation="none known",
    quirks=(
        "size, classes and sequences are not known here; medsweep.yaml describes them",
        "no result on it is shipped or claimed; the files were never seen",
    ),
)

CATALOGUE: Final[Mapping[str, DatasetSpec]] = MappingProxyType(
    {spec.name: spec for spec in (BRATS20, KITS19, IBSR18, D_HEART, D_SPLEEN, U_PRO)}
)
"""All datasets known by name."""


def canonical_name(name: str) -> str:
    """The catalogue's spelling of a dataset's name, in whatever case it was written; other names are unchanged.

    >>> canonical_name("BraTS20")
    'brats20'
    """
    return name.lower() if name.lower() in CATALOGUE else name
