"""From bytes to models and back: the codec, its lenient fallback, and the values of answers."""
