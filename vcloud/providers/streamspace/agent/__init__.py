"""The agent's side of StreamSpace: the implementation of ``StreamSpace.serve_agent``.

::

    worker            AgentWorker: runs, reconnects, and stops
    connection        one connection after the other: registers, sends heartbeats, receives
    commands          acknowledges commands, runs each once, and sends its result
    vnc_connections   relays viewers to the VNC servers of sessions (vnc_server: connects to one)
    outbox            the messages that wait to be sent, across connections
    handler           the protocol that a user implements
    hooks             the user's functions, and the log
    messages          every message of the document (parsing: reads the frames that hold them)
    command_limits    how many sessions and commands are accepted at once
    result_cache      the results of the last commands, for commands that come again
    reconnect         the pauses between connections
    reconcile         the sessions that the control plane has on this agent
"""
