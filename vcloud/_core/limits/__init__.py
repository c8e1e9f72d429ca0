"""Rate limits, the headers that announce them, and the queue of requests that wait for them.

From the bottom up:

- ``headers`` reads limit headers and ``Retry-After``.
- ``windows`` has the configured and the announced window, ``cooldown`` the pause after a 429.
- ``allowance`` combines them for the requests that one limit counts: a bucket.
- ``fair_queueing`` and ``waiting_queue`` decide which waiting request is next.
- ``shared_limits`` asks the store of a ``shared_budget`` on behalf of waiting requests.
- ``admission`` admits requests. It is what the rest of the client uses.
"""
