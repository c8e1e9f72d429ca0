"""One call of a user: the request loop, and each of its steps in a module of its own.

| module | holds |
|---|---|
| ``loop`` | the order of the steps |
| ``call`` | one call: its request, and how far it got |
| ``context`` | what all calls of a session share |
| ``building`` | making that from an endpoint |
| ``sources`` | where time and chance come from |
| ``queueing`` | waiting for a slot, a rate limit, a shared budget |
| ``limit_waits`` | how long a rate limit is waited for, in a bulk run and outside |
| ``credentials`` | obtaining a credential, and trying a refused one again |
| ``signing`` | the strategy, the time that it signs with, what the service says of it |
| ``attempts`` | the beginning and the failure of one attempt |
| ``answers`` | success, refusal, or neither |
| ``unread_answer`` | what is known of an answer that cannot be read |
| ``retrying`` | whether the request is sent again, and when |
| ``errors`` | the errors that a call ends with |
| ``interruption`` | waiting while the client closes or the caller is cancelled |
| ``upgrades`` | opening a WebSocket |
"""
