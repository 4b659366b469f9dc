"""Comparison of two images: questions, verdicts and reasons."""

# 20 families; the first is the test question
BRIEF = (
    "Which image has the better quality?",
    "Which of the two images is less distorted?",
    "Compare both images: which one looks better?",
    "Choose the image of higher quality.",
    "Which image looks cleaner?",
    "Of these two pictures, which one has the higher quality?",
    "Tell me which image is better.",
    "Which of the two would you keep for its quality?",
    "Between Image A and Image B, which one looks better?",
    "Name the image that suffers less from distortion.",
    "Which picture is damaged less?",
    "Look at both images and name the better one.",
    "In terms of quality, which image wins?",
    "Which one of the two has fewer or weaker faults?",
    "Which image is more pleasant to look at?",
    "Decide which of the two images has the better quality.",
    "Which of these images is closer to a clean photo?",
    "If only quality counts, which image do you prefer?",
    "Which image keeps more of its detail and natural look?",
    "Say which one is of higher quality, Image A or Image B.",
)
# 20 families that ask for the reason too
DETAILED = (
    "Compare the quality of both images and explain the choice.",
    "Which image is better, and why?",
    "Name the better image and give your reasons.",
    "Compare the two pictures in detail and say which one wins.",
    "Describe the faults of both images and choose the better one.",
    "Explain which of the two images has the higher quality.",
    "What is wrong with each image, and which one is better?",
    "Weigh the distortions of both images against each other.",
    "Which image would you prefer, and what speaks against the other?",
    "Give a detailed comparison of the quality of the two images.",
    "Look at both pictures, list their distortions and name the better one.",
    "Tell me which image looks better and what lowers the quality of each.",
    "How do Image A and Image B compare in quality? Explain.",
    "Assess both images and say why one of them is better.",
    "Judge the two images and justify your decision.",
    "Which of the two is less distorted? Explain in detail.",
    "Discuss the quality of Image A and Image B and decide.",
    "Point out the distortions of each picture, then choose.",
    "Which picture has the better quality? Describe what you see.",
    "Compare what the distortions do to each image and name the winner.",
)
# the verdict comes first: its confidence is read at the same step as the brief answer's
VERDICTS = (
    "{better} is better.",
    "{better} looks better.",
    "{better} has the higher quality.",
    "{better} is the better one.",
    "{better} is less distorted.",
    "{better} looks cleaner.",
)
FAULTS = (
    "{name} shows {faults}.",
    "{name} suffers from {faults}.",
    "{name} has {faults}.",
    "In {name} there is {faults}.",
    "{name} is affected by {faults}.",
)
EFFECTS = ("This {effect}.", "It {effect}.", "That {effect}.")
CLEAN = ("{name} shows no distortion.", "{name} looks clean, with no distortion.", "There is no visible distortion in {name}.")
CLOSING = (
    "The distortions of {worse} weigh more.",
    "This makes {better} the better choice.",
    "So {worse} loses more of its quality.",
    "Overall, {better} keeps a more natural look.",
)
CLOSING_REFERENCE = ("{better} stays closer to the reference.", "{worse} is further away from the reference.")
