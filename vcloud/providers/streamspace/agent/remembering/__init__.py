"""The commands that an agent carried out, across restarts: ``serve_agent(remember=PATH)``.

::

    memory    CommandMemory: what the worker asks, and the writing in the background
    store     CommandStore: the file, a SQLite database that one thread uses
    opening   who may own the file, and what is wrong with it
"""
