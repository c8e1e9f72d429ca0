"""The outcome of every call under every fault, and of thousands of calls under many faults."""
