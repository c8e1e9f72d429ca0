"""The matrix of ends: whatever ends a program, at whatever moment, leaves nothing running unnamed."""
