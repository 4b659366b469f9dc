"""Questions whose answer is a place: worst and best overall, for one distortion, and by the order of two distortions.

Questions about the weakest place say `least`, `weakest` or `best`; the others never do (engine/logit_lens.py reads these words).
"""

WORST = (
    "Where is the quality worst?",
    "Which region is degraded the most?",
    "Locate the region with the worst quality.",
    "Point to the most distorted part.",
    "Find the area that suffers the most.",
    "Where are the distortions strongest?",
    "Which part of the image is damaged the most?",
    "Show me the place with the lowest quality.",
    "Where does the image look worst?",
    "Taking all distortions together, where are they strongest?",
    "Which area needs repair the most?",
    "Mark the part of the picture that is hit hardest by distortion.",
)
BEST = (
    "Which distorted region is degraded the least?",
    "Locate the distorted region with the best quality.",
    "Point to the least distorted of the faulty parts.",
    "Where are the distortions weakest?",
    "Among the damaged parts, which one looks best?",
    "Find the faulty area that suffers the least.",
    "Of all distorted places, show me the one with the best quality.",
    "Which of the distorted regions is damaged the least?",
    "Taking all distortions together, in which faulty region are they weakest?",
    "Mark the distorted part that needs repair the least.",
    "Where is a distorted area that still looks best?",
    "Which affected part has lost the least of its quality?",
)
WORST_OF = (
    "Where is the {} strongest?",
    "Locate the region with the most {}.",
    "Point to the part most affected by {}.",
    "Which region suffers the most from {}?",
    "Find the place where {} does the most damage.",
    "Show me the area with the strongest {}.",
    "In which part is the {} most visible?",
    "Mark the region that is hit hardest by {}.",
)
BEST_OF = (
    "Where is the {} weakest?",
    "Locate the region with the least {}.",
    "Of the parts affected by {}, point to the one affected least.",
    "Which of the regions with {} suffers the least from it?",
    "Find the place where {} does the least damage.",
    "Show me the area with the weakest {}.",
    "In which affected part is the {} least visible?",
    "Among the regions with {}, mark the one that is hit least.",
)
ORDER = (
    "Which region was distorted by {} first and by {} after that?",
    "Locate the region where {} came first and {} second.",
    "Point to the part that got {}, then {}.",
    "Where was {} applied before {}?",
    "Find the area with the order {}, then {}.",
    "Which part shows {} that was followed by {}?",
)
FIRST = (
    "Which region was distorted by {} first, before another distortion?",
    "Locate the region whose first distortion is {}.",
    "Point to the part where {} came before the other distortion.",
    "Where does the order of distortions begin with {}?",
    "Find the area that got {} first.",
    "In which part was {} the first of two distortions?",
)
LAST = (
    "Which region was distorted by {} last, after another distortion?",
    "Locate the region whose last distortion is {}.",
    "Point to the part where {} came after the other distortion.",
    "Where does the order of distortions end with {}?",
    "Find the area that got {} last.",
    "In which part was {} the second of two distortions?",
)
