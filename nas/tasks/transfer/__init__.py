"""Tasks on their way to other machines: their objects as bytes, and the files that they read after they were loaded."""
