"""From a YAML file to a plan, without running a trial or looking into the store."""
