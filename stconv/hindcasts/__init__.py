"""Hindcasts: the forecasts of a model over years of archive, in one Zarr store or as scores alone.

plan -> template -> blocks of whole chunks, each written by one worker and then marked in the journal.
"""
