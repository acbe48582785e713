"""Memory of the process: kept between the steps of a training instead of being returned and fetched again."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Parameters of ``mallopt`` in the C library of GNU."""

KEPT: Final = {M_MMAP_THRESHOLD: 2**30, M_TRIM_THRESHOLD: 2**31 - 1}
RETURNED: Final = {M_MMAP_THRESHOLD: 2**25, M_TRIM_THRESHOLD: 2**26}
"""What the library comes to by itself after large blocks were freed."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory for a while, since a step allocates what the last one freed, and every new page costs a fault.

    Its end returns all that is free to the system. Nothing happens where the C library is another one.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    _set(library, KEPT)
    try:
        yield
    finally:
        _set(library, RETURNED)
        library.malloc_trim(0)


def _set(library: ctypes.CDLL, thresholds: dict[int, int]) -> None:
    for name, size in thresholds.items():
        library.mallopt(name, size)
