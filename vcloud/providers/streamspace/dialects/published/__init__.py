"""What the published server reads and answers."""
