"""What ``benchmarks/gpu.py`` measures: one module per section, each run by a process of its own.

``record`` names the sections and the file they fill, ``workers`` runs them, ``report`` is what a section writes to,
``product`` is the one place that knows the insides of medsweep. ``markdown`` and ``decisions`` read the record.
"""
