"""Agreement of results with human coders: codes are read, set beside the scores, and compared.

`files` reads what coders wrote (one module per program), `ratings` puts coders and machine on one
time grid, `frames`, `matching` and `shares` compare them, and `study` puts it all together.
"""
