"""Files that somebody else wrote, read row by row: bounded memory, a reason for each bad row."""
