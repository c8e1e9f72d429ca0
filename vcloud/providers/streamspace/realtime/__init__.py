"""A running session over WebSockets: its VNC stream and its log.

::

    session_ref             the methods of a session's handle: open_vnc, forward_vnc, logs

    vnc_url                 where the stream is by the API document; whether it may get the token
    vnc_forward             a local port; each connection to it is relayed to a tunnel of its own
    vnc_admission           which connections to that port are accepted
    socket_table            whose they are
    vnc_relay               carries bytes between a tunnel and a TCP connection
    vnc_refusal             how a viewer is shown an error
    vnc_tunnel              the bytes of a VNC server through one WebSocket

    vnc_published_opening   opens the WebSocket of a published server: waits for the first bytes
    vnc_published_socket    that WebSocket: base64, and questions for the session's state
    vnc_published_pings     when that WebSocket pings, so that the server does not end
    vnc_errors              the errors of these

    log_stream              a followed log, across reconnections
    log_replay              which lines are new after a reconnection
    log_overlap             compares the lines before and after it

Imports in this folder point from the first line of each group to the last, never back.
"""
