"""Every machine is stopped or reported by name, however a program ends and whatever it does."""
