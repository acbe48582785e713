from pathlib import Path

import pytest
import torch

from medsweep.trainers.training.host_memory import kept_memory

HELD_MIB = 200


def resident_mib() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def allocate_and_free() -> None:
    torch.ones(HELD_MIB * 2**18)


def test_freed_memory_is_kept_inside_and_returned_after_it():
    before = resident_mib()
    allocate_and_free()
    assert resident_mib() < before + HELD_MIB / 2
    with pytest.raises(KeyError), kept_memory():  # noqa: PT012
        allocate_and_free()
        assert resident_mib() > before + HELD_MIB / 2
        raise KeyError
    assert resident_mib() < before + HELD_MIB / 2
    allocate_and_free()
    assert resident_mib() < before + HELD_MIB / 2


def test_another_c_library_changes_nothing(monkeypatch):
    monkeypatch.setattr("medsweep.trainers.training.host_memory.ctypes.CDLL", lambda name: object())
    before = resident_mib()
    with kept_memory():
        allocate_and_free()
        assert resident_mib() < before + HELD_MIB / 2
