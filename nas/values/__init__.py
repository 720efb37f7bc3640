"""The values that everything speaks of: metrics, limits, targets, measurements and journal rows.

Plain frozen data and arithmetic on it. Nothing here imports torch or pandas, reads a file or runs a model.
"""
