"""The searchers under comparison: ours and those of other packages, each behind ``propose`` and ``tell``.

``by_name`` makes a searcher from its name; ``searcher`` holds the protocol. Every other module is one searcher.

Twins are architectures that are written differently but build the same network. ``gp``, ours, evaluates one
architecture for all its twins. The other searchers evaluate what they propose, unless the benchmark joins twins.
"""
