"""What is generated and scored."""
