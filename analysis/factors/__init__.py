"""Factorial designs: main effects, interactions, ordered and continuous factors, aliases of fractions."""
