"""Where the distortion is: pointing and masks (IQA-Spider section 1.4). Items whose truth is the whole image are left
out of hit rate and mIoU, since any point and a full mask would be right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from iqaflow.benchmark.metrics import metric
from iqaflow.tasks.grammar import WHOLE

if TYPE_CHECKING:
    import pandas as pd


@metric("ground", "hit_rate", "points into the region", headline=8)
@metric("ground", "hit_rate_hyd", "points into the worst or best region", ("hyd",))
@metric("ground", "hit_rate_sid", "points into the region worst or best in one distortion", ("sid",))
@metric("ground", "hit_rate_dao", "points into the region of the order asked for", ("dao",))
def hits(frame: pd.DataFrame) -> np.ndarray:
    """Whether the predicted point lies in the true mask."""
    return frame["hit"].where(frame["cell"] != "whole").to_numpy()


@metric("ground", "miou", "covers the region (mean IoU)", headline=9)
@metric("ground", "miou_hyd", "covers the worst or best region (mean IoU)", ("hyd",))
@metric("ground", "miou_sid", "covers the region worst or best in one distortion (mean IoU)", ("sid",))
@metric("ground", "miou_dao", "covers the region of the order asked for (mean IoU)", ("dao",))
def ious(frame: pd.DataFrame) -> np.ndarray:
    """Intersection over union of predicted and true mask."""
    return frame["value"].where(frame["cell"] != "whole").to_numpy()


@metric("ground", "whole_image_on_local", "says `whole image` though it is a part", ("hyd", "sid", "dao"), lower_is_better=True)
@metric("ground", "whole_image_on_whole", "says `whole image` where that is right", ("whole",))
def whole(frame: pd.DataFrame) -> np.ndarray:
    """Whether the answer is the whole image: then no point and no mask is sought (the gate)."""
    return frame["prediction"].str.lower().str.contains(WHOLE, regex=False).to_numpy(dtype=float)
