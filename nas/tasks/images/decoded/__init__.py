"""Pictures decoded once: in a file that all processes of a machine share, or for each batch where they do not fit."""
