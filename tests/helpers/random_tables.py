"""Tables of cases x arms with many ties, for property tests of ranks."""

import hypothesis.strategies as st
import numpy as np
from hypothesis.extra.numpy import arrays

TABLES = arrays(
    np.float64, st.tuples(st.integers(2, 12), st.integers(3, 6)), elements=st.integers(0, 6).map(lambda i: i / 4)
)
