"""The two forms in which StreamSpace answers, and which of them an installation has.

``documented`` is what its API document says, ``published`` what its published server does. A call
is a public method of a collection or a handle, which says what it does in both; a function in
``documented/``; and one in ``published/``. The protocols in ``calls`` name these functions.
"""
