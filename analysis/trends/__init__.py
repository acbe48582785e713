"""Over doses and over data sets: dose response, the onset of harm, random-effects meta-analysis."""
