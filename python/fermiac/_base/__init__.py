"""Base layer: argument checks, configuration, progress, files, registries."""
