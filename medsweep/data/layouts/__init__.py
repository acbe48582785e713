"""One module per layout on disk; each turns a folder into a ``Listing`` and a list of findings.

A layout looks at names and small text files only; voxels and headers are read by ``medsweep.data.nifti``.
"""
