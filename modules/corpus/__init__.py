"""What is read: annotations, text, vocabulary, features, batches."""
