"""Clocks, timeouts and polling, for event loops that may be blocked or suspended.

- ``clock`` has the clocks of this machine, ``server_clock`` the estimate of the service's clock.
- ``timeouts`` has timers that let the loop read before they fire, and ``timeout()``.
- ``attempt_timeout`` has the timeouts of attempts, with one timer for all.
- ``running_time`` counts only the time in which the loop runs, for cleanups.
- ``polling`` polls until there is a result.
"""
