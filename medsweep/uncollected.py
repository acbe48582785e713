"""Work without pauses for cyclic garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Cyclic garbage is not looked for meanwhile.

    A large plan makes hundreds of thousands of objects, and all of them stay. To go through them again and again took a
    quarter of the time and found nothing.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
