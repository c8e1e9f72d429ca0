"""The emulator's own routes, for programs that cannot reach into it."""
