"""The search: measure a few, predict, propose, train, measure what would change the front, retrain the winners."""
