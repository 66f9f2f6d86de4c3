"""The command line. A command parses, calls the library and presents; typer and rich are imported nowhere else."""
