"""Statistics on the tidy results table: a record is computed first, drawn or told afterwards.

Nothing here trains or schedules; matplotlib is imported in ``figures`` alone.
"""
