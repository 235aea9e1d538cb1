"""From the reward of a batch to credit for its instances."""
