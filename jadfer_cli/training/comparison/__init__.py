"""Recipes compared: each trained on each labelling with several seeds, and one table of them.

`plan` says what is wanted, `labellings` reads the images, `runs` trains, `statistics` and `table`
make rows from what is finished, `study` puts them together.
"""
