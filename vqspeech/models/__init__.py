"""Models assembled from the parts in `nn`; they know no files."""
