"""The control plane: agents' connections, commands, logs and VNC."""
