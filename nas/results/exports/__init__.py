"""A run in the forms of other tools: tidy tables, Optuna studies, MLflow runs and TensorBoard events.

``records`` holds what a run knows of each architecture; each other module writes it in one form.
"""
