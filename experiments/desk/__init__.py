"""The desk table: what a new user's search finds in minutes, beside the best model that twenty lines give.

``python -m experiments.desk`` runs it; ``__main__`` has the command line.

Modules:
    data_sets: the real data of each group, and how a user names them on the command line.
    pictures: makes the two folders of photos.
    photos, series, tables, texts: the models of twenty lines for one kind of data each.
    simple_models: fits those of a data set, measures them by the product, and keeps them.
    searches: runs the product's own command, and chooses a winner by validation.
    results: verdicts, the file of finished cells, and the table.
"""
