"""What a file really holds: its bytes, read to the end and checked, or a refusal that says what is there instead."""

import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from medsweep.errors import UserError

CHUNK = 2**20
"""Bytes that are read, and unpacked, at a time."""

GZIP = b"\x1f\x8b"
"""How every gzip member begins (RFC 1952)."""

DENSEST = 1032
"""Bytes that one byte of deflated data can stand for at most."""

LOOK = 512
"""Bytes from the start of a file by which it is recognised."""

HEADER_SIZES = (348, 540)
"""First four bytes of a NIfTI-1 (and Analyze) and of a NIfTI-2 header, as a number in either byte order."""

FETCH = "fetch the file again"

FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, which stands for the file", "git lfs pull brings the file itself"),
    (b"/annex/objects", "a git-annex pointer, which stands for the file", "git annex get brings the file itself"),
    (b"../.git/annex", "a git-annex pointer, which stands for the file", "git annex get brings the file itself"),
    (b"<!doctype", "a web page", "the download was refused: log in, or try again later, and " + FETCH),
    (b"<html", "a web page", "the download was refused: log in, or try again later, and " + FETCH),
    (b"<?xml", "an XML text", "the download was refused: log in, or try again later, and " + FETCH),
    (b"{", "a JSON text", "the download was refused: log in, or try again later, and " + FETCH),
    (b"pk\x03\x04", "a zip archive", "unpack it"),
    (b"bzh", "a bzip2 archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"),
    (b"\xfd7zxz", "an xz archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it"),
    (b"rar!", "a RAR archive", "unpack it"),
    (b"nrrd", "an NRRD image", "convert it to NIfTI"),
    (b"objecttype", "a MetaImage", "convert it to NIfTI"),
    (b"\x89hdf", "an HDF5 file", "convert it to NIfTI"),
    (b"\x89png", "a PNG picture", "give the NIfTI file"),
)
"""How files of other kinds begin in lower case, what they are, and what to do."""


def first_bytes(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of a file, unpacked where it is a ``.gz``; fewer where it is shorter.

    Raises:
        UserError: no such file, or it is something else than its name says.
    """
    with _open(path) as stream:
        if not _is_packed(path, stream):
            return stream.read(count)
        head = b""
        for piece in _members(path, stream, LOOK):
            head += piece
            if len(head) >= count:
                break
        return head[:count]


def all_bytes(path: Path, needed: int) -> tuple[bytearray, int]:
    """The first ``needed`` bytes of a file and how many come after them, with the whole file read.

    Packed files are unpacked to their end, so their check sums and lengths have been compared.

    Raises:
        UserError: as ``first_bytes``, damaged, or too short.
    """
    size = path.stat().st_size
    with _open(path) as stream:
        packed = _is_packed(path, stream)
        if needed > (size * DENSEST if packed else size):
            raise UserError(
                f"{path} ends too early: its header calls for {needed:,} bytes and a file of {size:,} bytes cannot "
                f"hold them; {FETCH}"
            )
        kept = bytearray(needed)
        if not packed:
            stream.readinto(kept)
            return kept, size - needed
        held = 0
        for piece in _members(path, stream, CHUNK):
            if held < needed:
                part = memoryview(piece)[: needed - held]
                kept[held : held + len(part)] = part
            held += len(piece)
    if held < needed:
        raise UserError(
            f"{path} ends too early: its header calls for {needed:,} bytes, unpacked it has {held:,}; {FETCH}"
        )
    return kept, held - needed


def _open(path: Path) -> BufferedReader:
    if path.is_dir():
        raise UserError(f"{path} is a folder with the name of a file; take the file out of it")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None


def _is_packed(path: Path, stream: BufferedReader) -> bool:
    """Whether the file is gzip and named so; what is neither gzip nor NIfTI is refused by its kind."""
    head = stream.read(LOOK)
    stream.seek(0)
    packed, named = head.startswith(GZIP), path.name.lower().endswith(".gz")
    if not head:
        raise UserError(f"{path} is empty, it has 0 bytes; {FETCH}")
    if packed and not named:
        raise UserError(f"{path} is packed with gzip and its name does not say so; name it .nii.gz, or unpack it")
    if not packed and named and _may_be_nifti(head):
        raise UserError(f"{path} is not packed with gzip though its name says so; name it .nii, or pack it")
    if not packed:
        refuse_foreign(path, head)
        if named:
            raise UserError(f"{path} is neither gzip nor NIfTI, it begins with {head[:8]!r}; {FETCH}")
    return packed


def _may_be_nifti(head: bytes) -> bool:
    return any(int.from_bytes(head[:4], order) in HEADER_SIZES for order in ("little", "big"))


def refuse_foreign(path: Path, head: bytes) -> None:
    """Refuse a file by how its content begins, unpacked where the file is packed.

    Raises:
        UserError: it is of another kind, packed twice, or zeros.
    """
    if head.startswith(GZIP):
        raise UserError(f"{path} is packed with gzip twice; unpack it once")
    if head[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive; unpack it")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for begin, kind, advice in FOREIGN:
        if start.startswith(begin):
            raise UserError(f"{path} is {kind}; {advice}")
    if head[128:132] == b"DICM":
        raise UserError(f"{path} is a DICOM file; convert it to NIfTI, for example with dcm2niix")
    if not any(head):
        raise UserError(f"{path} begins with {len(head)} bytes of zero, so the copy is damaged; {FETCH}")


def _members(path: Path, stream: BufferedReader, at_once: int) -> Iterator[bytes]:
    """The unpacked content of a gzip file, at most ``at_once`` bytes at a time, each member checked where it ends."""
    inflater, rest = zlib.decompressobj(zlib.MAX_WBITS | 16), b""
    try:
        while True:
            rest = rest or stream.read(at_once)
            if inflater.eof:
                rest = rest.lstrip(b"\x00")  # Tapes and some tools fill up the last block.
                if not rest:
                    if not (rest := stream.read(at_once)):
                        return
                    continue
                if not (rest + (stream.read(1) if len(rest) == 1 else b"")).startswith(GZIP):
                    raise UserError(f"{path} has bytes of something else after the end of its gzip data; {FETCH}")
                inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
            at_end = not rest
            piece = inflater.decompress(rest, at_once)
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if piece:
                yield piece
            elif at_end and not inflater.eof:
                raise UserError(f"{path} ends in the middle of its gzip data; {FETCH}")
    except zlib.error as error:
        reason = str(error).rpartition(": ")[2]
        raise UserError(f"{path} is damaged, its gzip data do not pass their own check ({reason}); {FETCH}") from None
