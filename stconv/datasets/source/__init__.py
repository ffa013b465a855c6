"""Reading of any file into canonical form: opening, axes, times, units, missing values, joining."""
