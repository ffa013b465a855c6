"""From any file to canonical dimensions: opening, axes, times, units, missing values, joining."""
