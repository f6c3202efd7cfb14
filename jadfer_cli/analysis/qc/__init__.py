"""Quality control: what is wrong with results, which clips a rule keeps, and where to look.

`clip.py` measures one result. `coverage.py`, `timing.py` and `identity.py` hold the checks, which
`checks.py` lists. `rules.py` decides by a rule file, and `report.py` brings all together.
"""
