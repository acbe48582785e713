"""Pictures of finished records: every number drawn was computed before, and lies beside the picture as CSV.

The one place that imports matplotlib.
"""
