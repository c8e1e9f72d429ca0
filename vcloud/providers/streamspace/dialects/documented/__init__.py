"""What the API document says."""
