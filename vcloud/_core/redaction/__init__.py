"""Keeps secrets out of texts, reprs and pickles."""
