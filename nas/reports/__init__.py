"""Everything that people read: the HTML report, the predictor report, the terminal's tables and the progress display.

Reports are pure functions of ``results``. Nothing here imports the search.
"""
