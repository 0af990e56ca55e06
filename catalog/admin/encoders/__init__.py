"""Admin of encoders: embeddings, evaluations, promotions, upload."""
