"""Jobs and who executes them: in this process, or on Ray.

Only ``ray_executor`` imports Ray. What a job does belongs in ``training`` and ``tables``.
"""
