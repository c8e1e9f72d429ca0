"""A rate budget that several processes share, and the stores in which they count.

- ``budget`` has the public ``SharedBudget``: the queue of each event loop, and the waits.
- ``store_access`` counts in the store and in this process, also while the store is away.
- ``limit`` is one shared limit in this process, ``counter`` the interface of stores.
- ``stores`` makes counters for each event loop. ``redis_store`` and ``redis_script`` are Redis'.
"""
