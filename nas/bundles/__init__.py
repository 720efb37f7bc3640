"""Bundles after the search: exporting winners in other forms, checking bundles, and measuring winners again."""
