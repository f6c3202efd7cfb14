"""Networks that score expressions, one file each, and the stems they share.

No files are read or written here.
"""
