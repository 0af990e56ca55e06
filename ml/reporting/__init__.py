"""What one sees of a run: its figures line by line, its pictures, and the services that follow it from afar."""
