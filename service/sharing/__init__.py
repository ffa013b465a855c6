"""Tasks, turns and notes that several servers share."""
