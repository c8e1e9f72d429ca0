"""The agent's side of the documented dialect.

::

    link          DocumentedLink: connects, and has the messages of the document
    assigned      the sessions that the control plane has on this agent
    vnc_viewers   DocumentedViewers: relays each viewer over a WebSocket of its own
"""
