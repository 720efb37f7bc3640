"""Tasks from text: files, their tokens on disk, and windows of them."""
