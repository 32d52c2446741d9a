"""The paper's student t as written: 420 epochs from scratch, batch 256, lr 4e-3, RTMPose's own augmentation.

torchrun --nproc-per-node 2 -m models.train --recipe paper_t --data SET --out RUN

The batch is the sum over processes. What the paper leaves to RTMPose is as in MMPose's own file for this student
(rtmpose-t_8xb256-420e_coco-256x192): every move of a crop and change of its pixels, another augmentation in the last
30 epochs, no decay, no clipping, no average. What differs: the paper's losses as `losses.py` and `targets.py` have them
(MMPose's own takes ten times the logits, and a wider Gaussian), a learned vector beside each of the head's tokens,
products of matrices in TF32 on a card, pixels from the set's crops (JPEG, a box 171 high; `workflows/paper.toml` stores
nearly all that can be drawn, of a usual set's crops 1.5 % would be black), a shift that is a fraction of the box as it
grew to the crop's shape, batch norm's statistics of each process, and whoever fills no whole batch is left out.
"""

_base_ = "rtmpose_t"
batch = 256
epochs = 420
lr = 4e-3
lr_end = 0.05
warm_up_steps = 1000
weight_decay = 0.0
clip = None
amp = False
beta = {"rtmpose-m-coco": 0.45, "rtmpose-m-mpii": 0.25}
locate = 0.0
augmentation = {
    "mmpose": True, "scale": (0.6, 1.4), "rotate": 80.0, "rotate_share": 0.6, "shift": 0.16, "half_body": 0.3,
    "hsv": (5, 30, 30), "blur": 0.1, "median": 0.1, "hole": 1.0, "colour": 0.0, "blank": 0.0,
}  # fmt: skip
last_epochs = 30
last_augmentation = {"scale": (0.75, 1.25), "rotate": 60.0, "shift": 0.0, "hole": 0.5}
ema = 0.0
