"""Pictures of finished results: timelines as figures, as a page, and on a terminal."""
