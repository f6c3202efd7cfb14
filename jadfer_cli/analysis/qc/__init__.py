"""Quality control: what is wrong with results, which clips a rule keeps, and where to look.

`clip.py` measures one result, `checks/` finds what a person should look at, `rules.py` decides by
a rule file, and `report.py` brings them together. `page.py` and `table.py` write what was found.
To add a check, add it to a module of `checks/`.
"""
