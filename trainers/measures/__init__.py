"""Pure measures of masks, volumes and sets of images, each with its source: overlap, surfaces, distances, spectra."""
