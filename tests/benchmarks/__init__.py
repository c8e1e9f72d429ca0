"""Benchmarks: speed is measured in pairs and printed as ratios. Nothing passes or fails."""
