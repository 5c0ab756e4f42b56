"""What one process does inside one network namespace."""
