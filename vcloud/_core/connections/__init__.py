"""Connections by way of aiohttp: the pool, names of hosts, and aiohttp's private parts."""
