"""The agent's side of the published server.

::

    link        PublishedLink: registers, connects, and translates messages
    approval    the registration by REST, and the wait for an administrator
    envelope    the messages as they are sent: ``{type, timestamp, payload}``
    vnc         VNCData, VNCClose, VNCReady and VNCError, and who handles them
"""
