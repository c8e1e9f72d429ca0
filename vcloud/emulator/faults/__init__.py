"""Faults: the ways for a request to fail, when they apply, and how they are applied."""
