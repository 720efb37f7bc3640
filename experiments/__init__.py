"""The recipes, and the benchmarks that produce the published figures.

Run a script from the root of the project as ``python -m experiments.NAME``; ``--help`` explains it.

Scripts:
    compare_searchers: how many evaluations searchers need on a table of evaluated architectures.
    compare_predictors: how well predictors learn a metric of a target from few measurements of a table.
    compare_end_to_end: whole searches from images to measured models, against three alternatives.
    desk: a new user's searches of minutes, against models of twenty lines on the same data.
    short_of_time: the best that searchers find on a table when time is short.
    early_stopping: the trainings that early stopping saves, and the hypervolume that it loses.
    weight_sharing: how well shared weights and zero-cost scores rank architectures.
    repeatability: how well latencies repeat between sessions.
    shared_cache: what a larger reference model corrects, from the raw data of ``repeatability``.
    varying_models: which models' latencies vary from time to time, and why.
    overhead: the time and the memory that a search takes in addition to its trainings.
    table_speed: what a search in a table costs, and how that grows with the number of evaluations.
    loads: a load on one core, which ``repeatability`` and ``varying_models`` run beside measurements.

Recipes:
    digits.toml: a whole search in a few minutes, without a network.
    fashion_mnist.toml: a whole search on Fashion-MNIST.
    end_to_end.toml: the search of ``compare_end_to_end``.

Modules that the scripts share:
    command_line: parsers, types of arguments and Markdown tables.
    table_options: how both comparisons name a table, the space of its rows, and devices.
    row_sampling: the rows of a table that count as measured.
    search_tasks: tasks on a table, and their scores.
    search_problem: what a searcher may know in one run.
    searchers: one module for each searcher, ours and those of other packages.
    table_search: the runs of ``compare_searchers``.
    table_prediction: the fits of ``compare_predictors``.
    end_to_end: the steps of ``compare_end_to_end``.
    early_stopping_replay: the replay of ``early_stopping``.

``protocols`` has a page for each script: how its figures were found, and all of them.
``results`` holds raw results of some scripts. ``early_stopping_fashion_mnist.jsonl`` and
``early_stopping_fashion_mnist_seed1.jsonl`` are the recorded trainings of ``early_stopping``.
"""
