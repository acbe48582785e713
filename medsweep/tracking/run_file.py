"""Reads the ``.wandb`` file of a run, as far as it was written.

The file is a log of LevelDB's format: blocks of 32 KiB with chunks of a checksum, a length and a kind. Each record is a
message of W&B's protocol (https://github.com/google/leveldb/blob/main/doc/log_format.md).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768
_FILE_HEADER = struct.Struct("<4sHB")
_CHUNK_HEADER = struct.Struct("<IHB")
_MIDDLE, _FIRST, _WHOLE, _LAST = 3, 2, 1, 4


def records(path: Path) -> Iterator[Any]:
    """The messages in a file, ``wandb.proto.wandb_internal_pb2.Record`` each; ends where the file was torn.

    Raises:
        ValueError: it is no such file, or one of its records is damaged.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    if content[:4] != b":W&B" or len(content) < _FILE_HEADER.size:
        raise ValueError(f"{path} is no file of a W&B run")
    for message in _messages(content):
        record = Record()
        try:
            record.ParseFromString(message)
        except DecodeError as error:
            raise ValueError(f"{path} has a record that cannot be read ({error})") from None
        yield record


def is_whole(path: Path) -> bool:
    """Whether a run was written to its end."""
    kinds = [record.WhichOneof("record_type") for record in records(path)]
    return kinds[-1:] == ["exit"]


def _messages(content: bytes) -> Iterator[bytes]:
    at, parts = _FILE_HEADER.size, b""
    while at + _CHUNK_HEADER.size <= len(content):
        if (left := BLOCK - at % BLOCK) < _CHUNK_HEADER.size:
            at += left
            continue
        _, length, kind = _CHUNK_HEADER.unpack_from(content, at)
        at += _CHUNK_HEADER.size
        chunk = content[at : at + length]
        at += length
        if len(chunk) < length or kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST):
            return
        parts = chunk if kind in (_WHOLE, _FIRST) else parts + chunk
        if kind in (_WHOLE, _LAST):
            yield parts
