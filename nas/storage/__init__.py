"""What is kept on disk: the journal of a run with its typed rows, and measurements that are kept across runs.

Reading and writing only; the meaning of rows belongs in ``results`` and ``searching``.
"""
