"""A student of the size of union21-t: `small` at half of its pixels, and so at half of its cost.

python -m models.train --recipe tiny --init SMALL/weights.pth --data SET --check CHECKSET --out RUN

What it knows it has from `small`: this teaches it to see people from fewer pixels. RTMPose-t, which has half of the
multiplications too, starts from nothing (`rtmpose_t`) and is far behind where training is short.
"""

_base_ = "small"
size_hw = (192, 128)
epochs = 4
lr = 6e-4
# A box grows to the crop's shape. This crop is narrower than the stored one, so that it shows people who stand a ninth
# smaller than `propose` will, and people who lie as large.
augmentation = {"rotate": 45.0, "half_body": 0.1, "blank": 0.2, "scale": (0.85, 1.4)}
