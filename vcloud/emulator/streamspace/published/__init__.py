"""StreamSpace as its published server answers it."""
