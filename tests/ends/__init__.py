"""However a program ends, and whatever it does: every machine is stopped, or reported by name."""
