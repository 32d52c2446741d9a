"""union21-t: `small` with EfficientNet-Lite0 and half of the pixels, so with a third of the cost.

python -m models.train --recipe tiny --data SET --check CHECKSET --out RUN
"""

_base_ = "small"
size = "lite0"
size_hw = (192, 128)
# A box grows to the crop's shape. This crop is narrower than the stored one, so that it shows people who stand a ninth
# smaller than `propose` will, and people who lie as large.
augmentation = {"rotate": 60.0, "half_body": 0.15, "blank": 0.3, "scale": (0.8, 1.45)}
