"""What lies in a bundle beside the model: hashes, real items, a model card; and how a bundle is written whole."""
