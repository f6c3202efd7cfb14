"""What people do with finished results.

It reads results only; it never annotates, and never imports `pipeline`.
"""
