"""The StreamSpace API, emulated."""
