"""What is done to data before training: checked, aligned, photographed."""
