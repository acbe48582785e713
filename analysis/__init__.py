"""Statistics on the tidy results table: a record is computed first, drawn or told afterwards."""
