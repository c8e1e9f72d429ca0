"""A rate budget that several processes share, and the stores in which they count."""
