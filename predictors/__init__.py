"""Ways to predict a measured metric; each is a function that fits and returns a predictor."""
