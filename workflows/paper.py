"""The numbers of arXiv 2405.20084, Tables 1 to 5, as plain data, in percent. They are the paper's; none is ours.

t and s are the paper's students: RTMPose-t and RTMPose-s at 256 x 192, 420 epochs of all of COCO and MPII. No and yes
is distillation. In Table 1, `*` counts only the 12 shared keypoints on the dataset that was not trained on.
"""

from __future__ import annotations

TABLE_1_COLUMNS = ("pckh_0.5", "pckh_0.1", "ap", "ap50", "ap75", "ar", "ar50", "ar75", "kpts", "avg")
# (student, trained on) -> a value a column.
TABLE_1 = {
    ("t", "MPII"): (87.75, 29.66, 19.82, 57.56, 3.93, 25.75, 62.37, 14.37, 16, 53.79),
    ("t", "MPII*"): (87.75, 29.66, 53.23, 76.61, 56.43, 59.12, 81.40, 62.46, 16, 70.49),
    ("t", "COCO*"): (77.62, 17.79, 67.99, 88.07, 75.59, 73.50, 92.03, 80.38, 17, 72.81),
    ("t", "unified"): (79.75, 19.58, 62.03, 85.66, 69.39, 68.12, 90.05, 75.13, 21, 70.89),
    ("s", "MPII"): (89.69, 32.28, 21.86, 60.85, 53.51, 27.96, 65.52, 16.17, 16, 55.78),
    ("s", "MPII*"): (89.69, 32.28, 57.48, 78.88, 61.57, 63.33, 83.61, 67.50, 16, 73.59),
    ("s", "COCO*"): (81.93, 22.82, 72.17, 89.19, 79.38, 77.23, 92.85, 84.74, 17, 77.05),
    ("s", "unified"): (84.16, 24.66, 68.63, 88.30, 75.73, 74.14, 92.10, 80.71, 21, 76.40),
}

# Tables 2 to 4: figure -> (student -> (no, yes)).
NoYes = dict[str, dict[str, tuple[float, float]]]
TABLE_2: NoYes = {
    "pckh_0.5": {"t": (80.21, 79.75), "s": (85.46, 84.16)},
    "ap": {"t": (60.69, 62.03), "s": (67.14, 68.63)},
    "avg": {"t": (70.45, 70.89), "s": (76.30, 76.40)},
}
TABLE_3: NoYes = {
    "ap": {"t": (60.69, 62.03), "s": (67.14, 68.63)},
    "ap50": {"t": (85.21, 85.66), "s": (87.49, 88.30)},
    "ap75": {"t": (67.71, 69.39), "s": (74.67, 75.73)},
    "apm": {"t": (58.06, 59.14), "s": (64.17, 65.52)},
    "apl": {"t": (66.13, 67.73), "s": (73.13, 74.79)},
    "ar": {"t": (67.00, 68.12), "s": (72.95, 74.14)},
}
TABLE_4: NoYes = {
    "head": {"t": (94.51, 93.83), "s": (96.01, 95.74)},
    "shoulder": {"t": (91.24, 90.86), "s": (94.53, 93.38)},
    "elbow": {"t": (78.61, 78.71), "s": (84.51, 83.30)},
    "wrist": {"t": (69.38, 70.14), "s": (77.26, 76.80)},
    "hip": {"t": (81.34, 79.82), "s": (86.33, 83.59)},
    "knee": {"t": (72.98, 71.77), "s": (80.15, 78.02)},
    "ankle": {"t": (67.69, 66.82), "s": (74.87, 73.78)},
    "pckh_0.5": {"t": (80.21, 79.75), "s": (85.46, 84.16)},
    "pckh_0.1": {"t": (19.51, 19.58), "s": (25.33, 24.66)},
}

# Table 5: the unified students on Halpe's truth for COCO's val images, 21 keypoints, given boxes.
TABLE_5_COLUMNS = ("ap", "ap50", "ap75", "apm", "apl", "ar")
TABLE_5 = {"t": (66.84, 90.63, 74.66, 64.60, 70.03, 69.74), "s": (72.75, 92.69, 80.81, 70.35, 76.21, 75.20)}
