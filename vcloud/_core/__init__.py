"""What every provider stands on. Nothing here knows a provider."""
