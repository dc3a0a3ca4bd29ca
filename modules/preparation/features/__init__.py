"""What is computed once from images and reports: entity scores, text vectors."""
