"""The one room that knows all others: a sweep file becomes stages, trials, tables and a report."""
