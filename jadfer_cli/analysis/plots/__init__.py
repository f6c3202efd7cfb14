"""Plots of finished results: as figures, as an HTML page, and for a terminal. No files are read."""
