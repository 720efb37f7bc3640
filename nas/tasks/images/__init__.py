"""The task of classifying images: folders, arrays and well-known data sets."""
