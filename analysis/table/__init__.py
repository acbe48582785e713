"""From the tidy results table to patients x arms: checked, reduced, every loss counted."""
