"""Every arm against the control: effects, equivalence, verdicts, and what the design could show."""
