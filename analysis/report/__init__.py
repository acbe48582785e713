"""The report: one self-contained HTML page that tells what the records say, with every n and interval.

It computes no statistic of its own.
"""
