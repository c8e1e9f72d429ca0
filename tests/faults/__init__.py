"""What becomes of every call under every fault, and of ten thousand calls under many."""
