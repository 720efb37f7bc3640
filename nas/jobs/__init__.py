"""Jobs, and the executors that run them: one after the other in this process, or in parallel on Ray.

Only the modules ``ray_…`` of the executor on Ray import Ray. The work that a job needs belongs in ``training`` and
``tables``.
"""
