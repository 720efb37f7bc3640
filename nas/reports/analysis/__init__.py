"""What the page of a report shows beyond the front, as functions of rows that return plain data.

How the search went, what each choice matters, how metrics scale, and how several runs or devices compare.
"""
