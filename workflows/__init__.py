"""The experiments, each script with its command on top."""
