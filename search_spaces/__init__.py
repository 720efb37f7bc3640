"""Search spaces: each is a class with ``choices`` and ``build``, and recipes name it by an entry point."""
