"""Code that winners' folders carry: preparing inputs as the tested ones were, and running the model on them.

The search prepares inputs by the same code. Each module needs numpy and what reads its kind of file, and imports
nothing but its neighbours here.
"""
