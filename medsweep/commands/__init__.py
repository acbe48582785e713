"""The command line by room: modules that add commands, and views that say how answers look; above the session."""
