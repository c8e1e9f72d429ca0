"""Faults to order: what can go wrong with an exchange, when, and how it is done."""
