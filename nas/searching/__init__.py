"""The search. ``run`` shows the whole way, ``round`` one round of it, and ``beliefs`` what is known at any moment.

Training, measuring and predicting belong in rooms of their own: this one decides what is trained and measured.
"""
