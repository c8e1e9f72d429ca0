"""The agent's side of the published server.

::

    link          PublishedLink: registers, connects, and translates messages
    approval      the registration by REST, and the wait for an administrator
    envelope      the messages as they are sent: ``{type, timestamp, payload}``
    vnc_messages  the messages that only this server has: the bytes of VNC
    vnc_viewers   PublishedViewers: the desktops of the sessions that run, for their viewers
    vnc_desktop   one desktop's connection, made anew for each viewer
    vnc_batches   how much of a picture goes into one message, and when it is sent
"""
