"""A student of the size of union21-s: an EfficientNet-Lite0 that knows ImageNet, under RTMPose's head.

python -m models.train --recipe small --data SET --check CHECKSET --out RUN
"""

_base_ = "tiny"
size = "lite"
imagenet = True
# Batch norm and early filters of ImageNet serve as they are; leaving them saves half of a step.
frozen = 3
epochs = 30
prompt = True
