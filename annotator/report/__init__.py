"""What a person looks at: overlay pictures of labels and proposals."""
