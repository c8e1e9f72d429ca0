"""The agent's side of StreamSpace: the implementation of ``StreamSpace.serve_agent``.

::

    worker            AgentWorker: runs, and stops
    connections       connects, and connects again (reconnect: the pauses between connections)
    connection        one connection: registers, sends heartbeats, receives
    link              what the worker knows of the two dialects (choosing: which one it is)
    documented/       the messages of the API document, and its WebSockets for viewers
    published/        those of the published server
    commands          acknowledges commands, runs each once, and sends its result
    session_reports   the last report of each session, where reports change its state
    remembering/      the commands that were carried out, across restarts
    outbox            the messages that wait to be sent, across connections
    handler           the protocol that a user implements (vnc_server: connects to what it names)
    hooks             the user's functions, and the log
    options           what else the user chose (registration: what the agent sends about itself)
    messages          every message of the document (parsing: reads frames; writing: their JSON)
    command_limits    how many sessions and commands are accepted at once
    result_cache      the results of the last commands, for commands that come again
    ending            the errors that end an agent
"""
