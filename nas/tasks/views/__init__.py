"""A task as a training sees it: with other items to train on and to validate by, and without the test split."""
