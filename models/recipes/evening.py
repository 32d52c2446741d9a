"""A student for a processor and an evening: EfficientNet-Lite0 that knows ImageNet under head and map, 256 x 192.

python -m models.train --recipe evening --init LOW/weights.pth --data SET --check CHECKSET --out RUN

A short schedule, after `evening_low`; `models.tell` gives it prompts.
"""

_base_ = "rtmpose_t"
size = "lite0"
imagenet = True
# Batch norm and early filters of ImageNet serve as they are; leaving them saves half of a step.
frozen = 3
epochs = 8
warm_up_steps = 50
lr = 8e-4
augmentation = {"rotate": 45.0, "half_body": 0.1, "blank": 0.2, "scale": (0.8, 1.3)}
# The shorter the schedule, the faster the average has to follow.
ema = 0.002
