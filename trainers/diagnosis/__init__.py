"""What a pool does inside the segmenter that is trained on it: gradients, losses, features, normalisation."""
