"""What is measured, one file each, in the order of their names."""
