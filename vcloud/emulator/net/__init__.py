"""The HTTP and WebSocket parts of the emulator, for all services."""
