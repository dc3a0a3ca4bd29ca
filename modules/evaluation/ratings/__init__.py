"""Reports that radiologists have rated, and whether metrics order them alike."""
