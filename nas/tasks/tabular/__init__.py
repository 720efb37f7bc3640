"""The task of tables: rows of numbers and categories, of which one column is predicted from the others."""
