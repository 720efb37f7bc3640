"""A run in the forms of other tools: tidy tables, Optuna studies, MLflow runs and TensorBoard events.

Each module writes the records of a run, see ``nas.results.records``, in one form.
"""
