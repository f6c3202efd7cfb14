"""A video drawn again with its result over it, or with its faces blurred.

No detection happens here.
"""
