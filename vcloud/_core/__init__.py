"""The code that all providers share. Nothing in it depends on a provider."""
