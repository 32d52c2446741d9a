"""What union21-s goes on from: an EfficientNet-Lite2 that knows ImageNet under RTMPose's head and a map, 256 x 192.

python -m models.train --recipe small --data SET --check CHECKSET --out RUN

For an accelerator. The weights that `longer` began with are the average after 69 of the 76 epochs, where ten minutes of
an H200 ended. `models.tell` gives it prompts. `evening` is for a processor.
"""

_base_ = "rtmpose_t"
size = "lite2"
imagenet = True
batch = 192
epochs = 76
warm_up_steps = 300
# About RTMPose's 4e-3 for batches of 1,024, by the root of the batch.
lr = 1.75e-3
augmentation = {"rotate": 60.0, "half_body": 0.15, "blank": 0.3, "scale": (0.75, 1.35)}
ema = 0.002
# What a minute of compiling would win in ten was not measured.
compiled = False
