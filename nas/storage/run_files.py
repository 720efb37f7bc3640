"""The names of files that a run's folder may hold beside its journal."""

from __future__ import annotations

SUPERNET_WEIGHTS = "supernet.safetensors"
"""The weights that all architectures share, if candidates are evaluated by them."""
PARENT_WEIGHTS = "parent.safetensors"
"""The weights of the model that candidates inherit from, as it was tuned for the run."""
SESSIONS = "sessions.jsonl"
"""The finished sessions of a measuring that goes on, or that was stopped."""
TRAINED_WEIGHTS = "trained"
"""The folder of the best candidates' weights, while a search with a time goes on."""
WORKERS = "workers.json"
"""What the workers of a search do now, while it trains."""
ALLOWED_WORKERS = "allowed_workers"
"""How many trainings another command allows at once, while a search trains."""
ABOUT = "architecture.json"
"""The description of a bundle, by which its folder is known."""
