"""`rltemp tune`: a recipe and its references, searched on validation data."""
