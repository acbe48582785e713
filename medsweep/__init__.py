"""What a sweep is, which trials it needs, where they run and what they leave.

Trainers and analysis import from here; nothing here but ``pipeline`` and ``cli`` imports them.
"""

__version__ = "0.1.0"
