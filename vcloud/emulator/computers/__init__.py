"""The Vagon Computers API, emulated."""
