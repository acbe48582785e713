"""What D sees instead of the plain pairs: random distortions that do not leak into the generator.

``DiffAugment`` distorts always, ``Ada`` with a probability p that is fixed or that ``AdaController`` adapts. Kinds are
registered in ``kinds``.
"""
