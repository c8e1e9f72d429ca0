"""One folder for each provider, all of the same shape."""
