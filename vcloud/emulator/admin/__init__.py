"""The emulator's own routes, for programs that cannot use its objects."""
