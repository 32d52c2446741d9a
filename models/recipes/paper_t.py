"""The paper's student t as written: 420 epochs from scratch, batch 256, lr 4e-3, RTMPose's own augmentation.

torchrun --nproc-per-node 2 -m models.train --recipe paper_t --data SET --out RUN

The batch is the sum over processes. RTMPose's pipeline: zoom .6 to 1.4, 80 degrees, half bodies at .3, colour and blur,
a blanked square in every picture and, for the last 30 epochs, in every second one; here the first setting is kept.
"""

_base_ = "rtmpose_t"
batch = 256
epochs = 420
lr = 4e-3
warm_up_steps = 1000
beta = {"rtmpose-m-coco": 0.45, "rtmpose-m-mpii": 0.25}
locate = 0.0
augmentation = {"scale": (0.6, 1.4), "rotate": 80.0, "shift": 0.16, "half_body": 0.3, "blank": 1.0}
ema = 0.0002
