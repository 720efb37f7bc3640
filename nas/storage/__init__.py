"""What is kept on disk: the journal of a run, and measurements that are kept across runs.

Reading and writing only; what rows mean belongs in ``results`` and ``searching``.
"""
