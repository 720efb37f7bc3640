"""Making a trained model smaller: finding the parent, what of it can be removed, and which of it matters."""
