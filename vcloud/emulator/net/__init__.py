"""What the emulator needs of HTTP and WebSockets, whichever service is served."""
