"""A running session over WebSockets: its VNC stream and its log.

::

    session_ref     the methods of a session's handle: open_vnc, forward_vnc, logs, connect_url
    vnc_tunnel      the bytes of a VNC server through one WebSocket
    vnc_relay       carries these bytes between a tunnel and a TCP connection
    vnc_forward     a local port; each connection to it is relayed to a tunnel of its own
    vnc_admission   which connections to that port are accepted (socket_table: whose they are)
    vnc_refusal     how a viewer is shown an error
    log_stream      a followed log, across reconnections
    log_replay      which lines are new after a reconnection (log_overlap: the comparison)

Imports in this folder point from the first line of each group to the last, never back.
"""
