"""Running generators: working-resolution input, runtimes, bundles, full-resolution reconstruction."""
