"""Spaces that list their architectures, such as the rows of a table, because not every combination of options exists.

``listing`` finds architectures in the list, and ``name_parts`` compares names by the parts that they share.
"""
