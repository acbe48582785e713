"""The report: one self-contained page of what the records say; it computes no statistic of its own."""
