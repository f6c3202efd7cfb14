"""Read finished results: find, summarise, compare, plot and export them.

Nothing here annotates or trains, or imports `pipeline`.
"""
