"""A running session over WebSockets: its VNC stream and its log."""
