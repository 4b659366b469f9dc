"""What each distortion does to a picture, in words a person would use: verb phrases, the first four for any level, the last two
for strong ones only.
"""

from __future__ import annotations

import numpy as np

from iqaflow import distortions

STRONG = 3  # the level from which all of them may be said
EFFECTS: dict[str, tuple[str, ...]] = {
    "blur": (
        "softens edges and hides fine detail",
        "makes outlines look soft",
        "takes the sharpness out of edges",
        "lets fine textures melt together",
        "smears small structures together",
        "makes things look out of focus",
    ),
    "noise": (
        "covers smooth areas with grain",
        "adds random specks",
        "makes even surfaces look rough",
        "lays grain over fine detail",
        "hides faint textures under specks",
        "makes plain surfaces look dirty",
    ),
    "compression": (
        "leaves blocks and ringing around edges",
        "adds small ripples next to strong edges",
        "makes edges look ragged",
        "simplifies fine texture",
        "turns fine texture into blocky patches",
        "removes weak texture and leaves smeared patches",
    ),
    "brighten": (
        "washes out the bright areas",
        "takes detail out of the highlights",
        "makes light parts look bleached",
        "gives an overexposed look",
        "turns pale colors almost white",
        "makes everything look glaring",
    ),
    "darken": (
        "hides detail in the shadows",
        "gives an underexposed look",
        "makes shapes in the shade harder to tell apart",
        "makes light parts look gray",
        "lets dark parts sink into black",
        "swallows detail in darker parts",
    ),
    "contrast_strengthen": (
        "makes the tones harsh",
        "gives a hard look",
        "makes shadows too deep and highlights too hard",
        "cuts the soft steps between tones",
        "pushes light and dark parts too far apart",
        "loses detail in the darkest and lightest parts",
    ),
    "contrast_weaken": (
        "makes the scene look flat",
        "takes away depth",
        "makes shapes stand out less",
        "leaves the tones dull",
        "lays a gray veil over everything",
        "makes light and dark parts look alike",
    ),
    "saturate_strengthen": (
        "makes the colors unnatural",
        "makes the colors look painted on",
        "makes the color tones glaring",
        "gives surfaces a false tint",
        "pushes the colors until they glow",
        "lets strong colors swallow fine detail",
    ),
    "saturate_weaken": (
        "makes the colors pale",
        "pulls the colors toward gray",
        "makes the colors look faded",
        "leaves the colors dull",
        "takes the life out of the colors",
        "lets different colors look alike",
    ),
    "oversharpen": (
        "draws bright halos along edges",
        "puts light seams around shapes",
        "makes fine texture look gritty",
        "exaggerates small edges",
        "makes edges look hard and unnatural",
        "makes outlines look drawn with a pen",
    ),
    "pixelate": (
        "breaks shapes into squares",
        "turns smooth curves into steps",
        "makes edges look like stairs",
        "replaces fine detail with coarse squares",
        "gives a mosaic look",
        "makes small things hard to recognize",
    ),
    "quantization": (
        "turns smooth tones into bands",
        "breaks soft gradients into visible steps",
        "draws false contours across smooth areas",
        "makes shaded surfaces look patchy",
        "reduces the colors to a few flat tones",
        "leaves flat patches where tones should change softly",
    ),
}


# said of a category whose file has no `EFFECTS` of its own
ANY = ("lowers the quality", "draws attention away from the content", "looks unnatural", "hides part of the detail")


def effect(category: str, level: float, rng: np.random.Generator, varied: bool = True) -> str:
    """What a distortion of a category does at a level; the plain wording unless `varied`."""
    own = distortions.categories().get(category)  # an older model may know a category that is no more
    known = EFFECTS.get(category) or (own.effects if own else ()) or ANY
    return known[int(rng.integers(len(known) if level >= STRONG else 4))] if varied else known[0]
