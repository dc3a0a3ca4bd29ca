"""What is written about scored reports: tables, pages, pictures."""
