"""Measuring and comparing models on request, without a search: what ``nas measure`` does, for Python."""
