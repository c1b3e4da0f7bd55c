"""What a person touches in a cell: the player, the progress bar, the blocking twins."""
