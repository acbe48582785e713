"""A store that is kept in order: what nothing reaches any more, damaged trials, second tries."""
