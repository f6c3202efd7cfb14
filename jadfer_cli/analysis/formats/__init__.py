"""Write tables as text, for Excel, and for statistics programs; one file per kind of program."""
