"""Evaluation of encoders on photos with known labels and items: metrics, confidence intervals, paired comparison."""
