"""RTMPose-t and a map over 21 keypoints, from nothing, 256 x 192, the paper's loss; what all other recipes start from.

python -m models.train --recipe rtmpose_t --data SET --check CHECKSET --out RUN
"""

size = "tiny"
size_hw = (256, 192)
split = 2.0
batch = 32
epochs = 60
warm_up_steps = 300
# RTMPose's 4e-3 is for batches of 256; a quarter of it for an eighth of the batch.
lr = 1e-3
weight_decay = 0.05
# What the cosine ends at, as a share of the rate; the length gradients are cut to, None for not at all.
lr_end = 0.02
clip = 5.0
alpha = 0.30
# Of each teacher; None: as the training set says, the paper's .45 for COCO's and .25 for MPII's if it does not;
# {}: none is heard.
beta = None
form = "simcc"
# Weight of the map's own loss; 0: RTMPose's head alone, as in the paper.
locate = 1.0
# Teachers whose maps of a part of each batch, as augmented, it learns to draw (`models.dense`), and the weight.
watch = ()
watch_share = 1.0
dense = 0.1
# Stages of a lite backbone that are not trained.
frozen = 0
# Start the backbone from ImageNet's weights (lite only), where no other weights are given.
imagenet = False
augmentation = {}
# What of the augmentation is another in the last epochs.
last_epochs = 0
last_augmentation = {}
# Of the average of weights that is kept; 0: the weights themselves.
ema = 0.001
seed = 0
# Single datasets, by name or pattern, and every n-th person, for comparisons and learning curves.
datasets = None
subset = 1
compiled = True
# On a processor: what a step frees is kept for the next one, not given back to the system (`models.memory`).
keep_memory = True
# bf16 in the backbone: True, False, or None for where it is faster (cards that know it; processors too, for CSPNeXt).
amp = None
