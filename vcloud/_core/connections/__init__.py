"""Connections of aiohttp: the pool, host names, failures, and aiohttp's private parts."""
