"""The comparison widget: several videos under one clock."""
