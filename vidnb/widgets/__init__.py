"""What a notebook shows: the player, the comparison and the progress bar."""
