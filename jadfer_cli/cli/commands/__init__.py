"""One module per command; each imports what is slow to load only when the command runs.

A module NAME holds HELP, PANEL (one of those below) and a function NAME; a group of commands
holds `app`, a Typer, in place of HELP and the function. Adding the file adds the command.
"""

# Headings of `jadfer --help`, in this order.
ANNOTATE_PANEL = "From video to rows"
RESULTS_PANEL = "From rows to findings"
TRAINING_PANEL = "Train and measure"
INSTALLATION_PANEL = "This installation"
PANELS = (ANNOTATE_PANEL, RESULTS_PANEL, TRAINING_PANEL, INSTALLATION_PANEL)
