"""Credit assignment: from the reward of a batch to credit for its instances."""
