"""What would hold for networks trained again: variance components, tests with runs as random, a mixed model."""
