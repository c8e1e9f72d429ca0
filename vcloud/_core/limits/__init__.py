"""Rate limits, the headers that announce them, and the queue of requests that wait for them."""
