"""The student's side: network, losses, targets, recipes, training and export. The only place for torch and MMPose."""
