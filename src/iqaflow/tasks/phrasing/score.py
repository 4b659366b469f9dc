"""Rating in one word: questions about the image and about a region."""

IMAGE = (
    "Rate the quality of the image.",
    "How good is the quality of this image?",
    "How would you rate this image?",
    "Give the quality level of the image.",
    "What is the quality of this picture in one word?",
    "Choose a word for the quality of the image.",
    "Which quality level does this image have?",
    "How do you judge the quality of this photo?",
    "Put the quality of the image into one word.",
    "Which level of quality would you give this picture?",
    "In one word, how is the quality of the image?",
    "Please rate the picture.",
    "What quality rating does the photo deserve?",
    "How well does this image hold up in quality?",
)
REGION = (
    "Rate the quality of the {region}.",
    "How good is the quality of the {region}?",
    "How would you rate the {region}?",
    "Give the quality level of the {region}.",
    "What is the quality of the {region} in one word?",
    "Which quality level {does} the {region} have?",
    "How do you judge the quality of the {region}?",
    "Look only at the {region} and rate the quality.",
    "Choose a word for the quality of the {region}.",
    "In one word, how is the quality of the {region}?",
)
