"""The pages for shoppers, the pictures and the health check."""
