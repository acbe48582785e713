"""Files are read to their end, and what is no NIfTI file is called what it is."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from helpers.decathlon_folder import save
from medsweep.data import nifti
from medsweep.data.content import CHUNK, all_bytes, first_bytes
from medsweep.errors import UserError

STORED = np.random.default_rng(0).integers(0, 4000, (20, 20, 20)).astype(np.int16)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        nifti.read_image(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def plain(folder: Path) -> bytes:
    return save(folder / "plain.nii", STORED).read_bytes()


def test_a_single_flipped_bit_anywhere_in_a_packed_file_is_found(tmp_path: Path) -> None:
    packed = gzip.compress(plain(tmp_path), mtime=0)
    (tmp_path / "x.nii.gz").write_bytes(packed)
    good = nifti.read_image(tmp_path / "x.nii.gz").array
    assert np.array_equal(good[0], STORED)
    for place in np.random.default_rng(1).integers(10, len(packed), 100):  # The first ten bytes hold time and system.
        damaged = bytearray(packed)
        damaged[place] ^= 1 << (place % 8)
        (tmp_path / "x.nii.gz").write_bytes(damaged)
        refusal(tmp_path / "x.nii.gz")


def test_zeroed_bytes_of_a_stored_block_are_found_by_the_check_sum(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(plain(tmp_path), compresslevel=0, mtime=0))
    packed[6000:6400] = bytes(400)
    (tmp_path / "x.nii.gz").write_bytes(packed)
    assert "gzip data do not pass their own check (incorrect data check)" in refusal(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("keep", [4000, -1, -5, -9])
def test_a_file_that_was_cut_short_is_refused_packed_or_not(tmp_path: Path, keep: int) -> None:
    whole = plain(tmp_path)
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(whole)[:keep])
    assert "ends in the middle of its gzip data" in refusal(tmp_path / "x.nii.gz")
    (tmp_path / "x.nii").write_bytes(whole[:keep])
    assert "ends too early: its header calls for 16,352 bytes" in refusal(tmp_path / "x.nii")
    (tmp_path / "y.nii.gz").write_bytes(gzip.compress(whole[:keep]))
    assert "ends too early: its header calls for 16,352 bytes, unpacked it has" in refusal(tmp_path / "y.nii.gz")


def test_members_padding_and_large_files_are_unpacked_as_gzip_does(tmp_path: Path) -> None:
    content = np.random.default_rng(2).integers(0, 256, 3 * CHUNK + 5, dtype=np.uint8).tobytes() + bytes(5 * CHUNK)
    cut = CHUNK + 77
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(content[:cut]) + gzip.compress(content[cut:]) + bytes(700))
    kept, surplus = all_bytes(path, 2 * CHUNK)
    assert bytes(kept) == content[: 2 * CHUNK]
    assert surplus == len(content) - 2 * CHUNK
    assert first_bytes(path, cut + 3) == content[: cut + 3]


def test_something_else_after_the_end_is_refused(tmp_path: Path) -> None:
    for tail in (b"x", b"\x1f", b"more text", bytes(3) + b"z"):
        (tmp_path / "x.nii.gz").write_bytes(gzip.compress(plain(tmp_path)) + tail)
        assert "something else after the end of its gzip data" in refusal(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty, it has 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "Git LFS pointer.*git lfs pull"),
        (b"/annex/objects/MD5E-s1--2.nii.gz", "git-annex pointer.*git annex get"),
        (b"\n<!DOCTYPE html><html>Too many requests</html>", "is a web page; the download was refused"),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "is an XML text; the download was refused"),
        (b'{"error": "quota"}', "is a JSON text"),
        (b"PK\x03\x04" + bytes(600), "is a zip archive; unpack it"),
        (b"BZh91AY&SY" + bytes(range(99)), "is a bzip2 archive; unpack it"),
        (b"\xfd7zXZ\x00" + bytes(range(99)), "is an xz archive; unpack it"),
        (b"NRRD0004\n", "is an NRRD image; convert it"),
        (b"x" * 128 + b"DICM" + bytes(300), "is a DICOM file.*dcm2niix"),
        (bytes(2000), "begins with 512 bytes of zero, so the copy is damaged"),
        (b"no image at all", r"it begins with b'no image'; fetch the file again"),
    ],
)
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "X.NII.GZ"])
def test_what_is_no_nifti_file_is_called_what_it_is(tmp_path: Path, content: bytes, what: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert re.search(what, refusal(tmp_path / name))


@pytest.mark.parametrize(
    ("inside", "what"),
    [
        (gzip.compress(b"anything", mtime=0), "x.nii.gz is packed with gzip twice; unpack it once"),
        (b"x.nii".ljust(257, b"\x00") + b"ustar\x0000".ljust(300, b"\x00"), "x.nii.gz is a tar archive; unpack it"),
        (b"<html>busy</html>", "x.nii.gz is a web page; the download was refused"),
        (bytes(2000), "x.nii.gz begins with 540 bytes of zero"),
        (b"no image", "x.nii.gz is no NIfTI file, it begins with b'no image'"),
    ],
)
def test_what_is_inside_a_packed_file_is_called_what_it_is(tmp_path: Path, inside: bytes, what: str) -> None:
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(inside))
    assert what in refusal(tmp_path / "x.nii.gz")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    plain(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(tmp_path / "plain.nii").endswith("plain.nii may not be read; mend its permissions")


def test_names_that_contradict_the_content_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(plain(tmp_path))
    assert "is not packed with gzip though its name says so; name it .nii" in refusal(tmp_path / "x.nii.gz")
    (tmp_path / "x.nii").write_bytes(gzip.compress(plain(tmp_path)))
    assert "is packed with gzip and its name does not say so; name it .nii.gz" in refusal(tmp_path / "x.nii")
    (tmp_path / "folder.nii.gz").mkdir()
    assert "is a folder with the name of a file" in refusal(tmp_path / "folder.nii.gz")


def test_a_header_that_calls_for_more_than_the_file_can_hold_takes_no_memory(tmp_path: Path) -> None:
    content = bytearray(plain(tmp_path))
    content[42:48] = np.array([32767] * 3, "<i2").tobytes()
    for name, written in (("x.nii", bytes(content)), ("x.nii.gz", gzip.compress(bytes(content)))):
        (tmp_path / name).write_bytes(written)
        assert "calls for 70,362,301,923,678 bytes and a file of" in refusal(tmp_path / name)
