"""Clocks, timeouts and polling, for event loops that may be blocked or suspended."""
