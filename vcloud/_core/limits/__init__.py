"""Who may send, and when: what answers say of limits, the limits themselves, and the line."""
