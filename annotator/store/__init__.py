"""A project on disk: its settings, its SQLite store, its rounds."""
