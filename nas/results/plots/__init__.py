"""Plots as data, in ``scene``; as pictures, in ``pictures``; and as objects that show themselves in a notebook."""
