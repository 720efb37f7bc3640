"""Search spaces that come with the project; each is a class with ``choices`` and ``build``."""
