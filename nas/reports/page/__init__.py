"""The document in a report's page: all architectures of a run as columns, which the page's scripts draw and filter.

Numbers are packed as the 64-bit floats that the journal holds, so that the page shows and saves exactly those.
"""
