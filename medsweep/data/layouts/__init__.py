"""One module per folder layout; each has a function ``cases`` that turns a folder into a ``Listing``.

A layout looks at names and small text files only; voxels and headers are read by ``medsweep.data.nifti``. A new layout
is a new module here and an entry of ``medsweep.data.catalogue`` that names its function.
"""
