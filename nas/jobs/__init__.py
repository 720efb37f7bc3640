"""Jobs, and the executors that run them: one after the other in this process, or in parallel on Ray.

Only ``ray_executor`` imports Ray. The work that a job needs belongs in ``training`` and ``tables``.
"""
