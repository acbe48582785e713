"""Statistical tests and estimates, pure: arrays or a reduced table in, one small frozen record out."""
