"""The parts of an agent: what it is told, what it says, the pictures that it delivers."""
