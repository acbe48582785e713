"""What families of generators share: their slices, masks as channels, scales, pictures, distances, and the device."""
