"""union21-s: `small` trained on, with teachers that look at half of the augmented crops.

python -m models.train --recipe longer --init RUN_OF_SMALL/weights.pth --data SET --check CHECKSET --out RUN

For an accelerator; the teachers' weights lie where ANNOTATOR_TEACHERS says. `models.tell` gives it prompts.
"""

_base_ = "small"
batch = 256
epochs = 80
warm_up_steps = 200
lr = 1.2e-3
watch = ("tinypose", "tinypose_mpii16")
watch_share = 0.5
dense = 0.2
augmentation = {
    "rotate": 60.0, "half_body": 0.15, "scale": (0.75, 1.35), "blank": 0.4, "paste": 0.5, "blend": 0.3,
}  # fmt: skip
