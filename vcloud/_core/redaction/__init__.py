"""Keeps secrets out of texts, reprs, pickles and tracebacks."""
