"""For all tests alike."""

from __future__ import annotations

import signal

# A shell's background job ignores Ctrl-C, and so would all programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
