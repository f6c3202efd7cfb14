"""Micro-expressions: clips of 200 to 500 frames per second with onset, apex and offset.

What DFME (Zhao et al. 2023, arXiv 2301.00985), CASME II and SAMM have in common: a manifest of
clips, frames sampled by time, folds without shared subjects, and two unweighted measures.
"""
