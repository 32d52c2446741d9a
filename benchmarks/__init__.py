"""Speed measured, each script with its command on top."""
