"""From image files to reports: what a trained model's folder is enough for."""

from modules.prediction.reporter import Reporter

__all__ = ["Reporter"]
