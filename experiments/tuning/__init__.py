"""Search for the recipe and the options of rules that are best on validation data."""
