"""The parts of ``experiments.compare_end_to_end``.

``seed_folder`` holds what a seed needs, ``rivals`` the other methods, ``searching`` lets each method search,
``measuring`` retrains and measures the winners, and ``fronts`` shows them.
"""
