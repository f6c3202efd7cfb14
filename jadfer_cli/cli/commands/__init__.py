"""One module per command. Options, output and nothing else: the work is done below `cli`."""
