"""The Vagon Streams API, emulated."""
