"""Pictures of finished records, each with its data as CSV; the one place that imports matplotlib."""
