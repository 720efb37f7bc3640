"""What people read: the HTML report, the predictor report, and the terminal's tables.

A pure function of ``results``; nothing here imports the search.
"""
