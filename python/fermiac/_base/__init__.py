"""The base of the package: checks of arguments, configuration, progress, files."""
