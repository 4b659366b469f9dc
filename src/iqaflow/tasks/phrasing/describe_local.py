"""Descriptions of one region: 17 questions (IQA-Spider, task 2) and the verdicts that end the answers."""

QUESTIONS = (
    "Describe the quality of the {region}.",
    "How {does} the {region} look in terms of quality?",
    "Give a quality description of the {region} only.",
    "Explain the quality of the {region} and what lowers it.",
    "Look only at the {region} and assess the quality.",
    "What do you think about the quality of the {region}?",
    "Please describe in detail how the {region} look{s}.",
    "Comment on the quality of the {region}.",
    "How good {does} the {region} look, and why?",
    "Leaving the rest aside, how is the quality of the {region}?",
    "Evaluate the {region} in this image and explain your verdict.",
    "Tell me about the quality of the {region}.",
    "What stands out about the quality of the {region}?",
    "Zoom in on the {region} and describe the quality.",
    "Write a short paragraph on how the {region} look{s}.",
    "Which faults {does} the {region} have, and how good {is_} {its} quality overall?",
    "Judge the {region} on {its} own and give your reasons.",
)
VERDICTS = (
    "Its quality is {verdict}.",
    "I would call the quality of this part {verdict}.",
    "The quality of this part is {verdict}.",
    "Overall, this part has {verdict} quality.",
    "So this part is of {verdict} quality.",
)
