"""The two forms in which StreamSpace answers.

``documented`` is what its API document says, ``published`` what its published server does. A call
is a public method of a collection or a handle, which says what it does in both; a function in
``documented/``; and one in ``published/``. These functions make handles, so the modules of the
handles import nothing of this package: ``installation`` and ``calls`` beside it lead here.
"""
