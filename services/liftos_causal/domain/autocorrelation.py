"""What is known less surely since days that follow each other err alike."""

from liftos_causal.domain.panel import Floats


def inflation(residuals: Floats) -> float:
    """Return by how much variances grow since days that follow each other err alike (AR(1))."""
    scale = float(residuals @ residuals)
    if scale == 0.0:
        return 1.0
    alike = min(max(float(residuals[1:] @ residuals[:-1]) / scale, 0.0), 0.95)
    return (1.0 + alike) / (1.0 - alike)
