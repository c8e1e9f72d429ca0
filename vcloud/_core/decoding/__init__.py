"""The parts of the codec: plain JSON, the lenient converter, what models share, and errors."""
