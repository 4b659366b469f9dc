"""All pixels that are at least half as likely as the likeliest."""

WEIGHTS = SLOW = False
OPTIONS = [{}]


def segment(image, map_, points, negatives, box_xyxy, options):
    return map_ >= map_.max() / 2
