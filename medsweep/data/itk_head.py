"""The readable heads of NRRD and MetaImage files, the formats of ITK: what they say, and where the voxels lie."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medsweep.data.content import CHUNK, FETCH, LOOK, refuse_foreign
from medsweep.errors import UserError

ITK_ENDINGS: Final = (".nrrd", ".nhdr", ".mha", ".mhd")
"""They are read where a pattern or ``file_ending`` asks for them."""
KINDS: Final = {"nrrd": "NRRD", "nhdr": "NRRD", "mha": "MetaImage", "mhd": "MetaImage"}
PACKAGE: Final = "SimpleITK"


@dataclass(frozen=True)
class ItkHead:
    """The readable head of a file."""

    fields: dict[str, str]
    """By lower-case key."""
    data: Path
    """The file that holds the voxels: the same, or one beside it."""
    offset: int
    """Byte of ``data`` at which they begin."""

    @property
    def packing(self) -> str:
        """``raw``, ``packed`` (gzip or zlib), or another encoding, which ITK alone knows."""
        if "encoding" in self.fields:
            encoding = self.fields["encoding"].lower()
            return {"raw": "raw", "gzip": "packed", "gz": "packed"}.get(encoding, encoding)
        return "packed" if self.fields.get("compresseddata", "").lower() == "true" else "raw"


def is_itk(path: Path) -> bool:
    """Whether the file is, by its name, of a format of ITK."""
    return path.name.lower().endswith(ITK_ENDINGS)


def kind_of(path: Path) -> str:
    """``NRRD`` or ``MetaImage``, by the ending."""
    return KINDS[path.suffix.lower()[1:]]


def require_package(what: str) -> None:
    """Refuse ``what``, a clause about files of a format of ITK, where SimpleITK is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError(
            f"{what}, which {PACKAGE} reads: pip install 'medsweep[sitk]', or convert the files to .nii.gz elsewhere"
        )


def data_file(path: Path) -> Path | None:
    """The file beside ``path`` that holds its voxels; None where it holds them itself.

    Raises:
        UserError: the head is not that of its format, or names several files.
    """
    data = read_head(path).data
    return None if data == path else data


def read_head(path: Path) -> ItkHead:
    """The head of a file, whose voxels follow it or lie beside it.

    Raises:
        UserError: as ``data_file``, or no such file.
    """
    if not path.is_file():
        raise UserError(f"no file {path}")
    with path.open("rb") as stream:
        head = stream.read(CHUNK)
    kind = kind_of(path)
    if not head:
        raise UserError(f"{path} is empty, it has 0 bytes; {FETCH}")
    begins = head.startswith(b"NRRD") if kind == "NRRD" else re.match(rb"\s*\w+\s*=", head) is not None
    if not begins:
        refuse_foreign(path, head[:LOOK])
        raise UserError(f"{path} is no {kind} file, it begins with {head[:8]!r}; {FETCH}")
    end = re.search(rb"\r?\n\r?\n", head) if kind == "NRRD" else re.search(rb"ElementDataFile[^\n]*(\n|$)", head)
    size = len(head) if end is None else end.end()
    pairs = re.findall(r"^([^#:=\n]+?)\s*(?::=|[:=])[ \t]*(.*?)\s*$", head[:size].decode("latin-1"), re.MULTILINE)
    fields = {key.strip().lower(): value for key, value in pairs}
    named = fields.get("elementdatafile") or fields.get("data file") or fields.get("datafile") or "LOCAL"
    if named == "LOCAL":
        return ItkHead(fields, path, size)
    if re.match(r"LIST\b", named) or "%" in named:
        raise UserError(f"{path} names several files with its voxels ({named}); write it as one .mha or .nrrd file")
    skipped = fields.get("headersize", "")
    return ItkHead(fields, path.parent / named, int(skipped) if skipped.isdecimal() else 0)
