"""Questions and answers about places (GIQA-VQA): with a box in the question (referring) or in the answer (grounded)."""

YES_NO = (
    "{Is} the {region} affected by {fault}?",
    "{Does} the {region} show {fault}?",
    "Is there {fault} in the {region}?",
    "{Does} the {region} suffer from {fault}?",
    "Can {fault} be seen in the {region}?",
    "Look at the {region}: is there any {fault}?",
    "Was the {region} damaged by {fault}?",
    "Would you say that the {region} {has} {fault}?",
    "Is the quality of the {region} lowered by {fault}?",
    "Do you see {fault} in the {region}?",
)
CLEAR = (
    "{Is} the {region} free of distortion?",
    "{Does} the {region} look clean?",
    "Is the quality of the {region} untouched?",
    "Would you call the {region} clear?",
    "{Is} the {region} without any distortion?",
    "{Does} the {region} keep {its} full quality?",
)
WHAT = (
    "What distortion affects the {region}?",
    "What lowers the quality of the {region}?",
    "What fault can be seen in the {region}?",
    "What {is_} the {region} affected by?",
    "What kind of distortion {does} the {region} show?",
    "What {does} the {region} suffer from?",
    "What is the name of the distortion in the {region}?",
    "What has damaged the {region}?",
)
WHAT_WHERE = (
    "What lowers the quality of this image, and where?",
    "What distortion can be seen in this image, and in which place?",
    "What is wrong here, and where is it?",
    "What damaged a part of this image, and which part is it?",
    "What kind of distortion is there, and where does it show?",
    "What fault do you find in the picture, and where?",
)
WHY = (
    "Why is the quality of the {region} lowered?",
    "Why {does} the {region} look damaged?",
    "Why {does} the {region} not look natural?",
    "Why would one call the {region} distorted?",
    "Why {is_} the {region} not clear?",
    "Why has the {region} lost quality?",
)
WHY_WHERE = (
    "Why is the quality of this image lowered?",
    "Why does this image look damaged?",
    "Why does a part of this picture not look natural?",
    "Why would one call this image distorted?",
    "Why is this picture not clear everywhere?",
    "Why has this image lost quality?",
)
HOW = (
    "How severe is the {fault} in the {region}?",
    "How strong is the {fault} in the {region}?",
    "How badly {is_} the {region} affected by {fault}?",
    "How much {does} the {region} suffer from {fault}?",
    "How visible is the {fault} in the {region}?",
    "How would you grade the {fault} in the {region}?",
)
HOW_WHERE = (
    "How severe is the {fault} in this image, and where is it?",
    "How strong is the {fault} in this picture, and which part has it?",
    "How much does this image suffer from {fault}, and in which place?",
    "How badly did {fault} hit this picture, and where?",
    "How visible is the {fault} in this image, and where can it be seen?",
    "How would you grade the {fault} of this image, and where does it lie?",
)
WHICH = (
    "Which part of the image is affected by {fault}?",
    "Which region shows {fault}?",
    "Which area suffers from {fault}?",
    "In which place can {fault} be seen?",
    "Which part has lost quality through {fault}?",
    "Which part of the picture has {fault}?",
)
WHICH_OF = (
    "Which one is damaged more, the {region} or the {other}?",
    "Which has the lower quality, the {region} or the {other}?",
    "Compare the {region} with the {other}: which one looks worse?",
    "Which suffers more from distortion, the {region} or the {other}?",
    "Of the {region} and the {other}, which one needs repair more?",
    "Which is further from a clean look, the {region} or the {other}?",
)
# yes or no about the whole image; the answer says where
PRESENT = (
    "Is there {fault} anywhere in this image?",
    "Does any part of the image show {fault}?",
    "Can {fault} be found in this picture, and where?",
    "Is some place in this image affected by {fault}?",
    "Has {fault} damaged any part of the picture?",
    "Do you see {fault} in the image? Say where.",
)
ALL_CLEAR = (
    "Is every part of this image free of distortion?",
    "Is the quality of this picture untouched everywhere?",
    "Does all of the image look clean?",
    "Is this photo without any distortion?",
    "Would you call all parts of the picture clear?",
    "Has the image kept its full quality in every place?",
)
YES_PRESENT = (
    "Yes, in the {region}.",
    "Yes, the {region} show{s} {fault}.",
    "Yes, there is {fault} in the {region}.",
    "Yes, the {region} {is_} affected by {fault}.",
)
NO_PRESENT = (
    "No, but the {region} show{s} {fault}.",
    "No, what can be seen is {fault} in the {region}.",
    "No, the {region} {is_} affected by {fault}.",
)
NO_ALL_CLEAR = (
    "No, the {region} show{s} {fault}.",
    "No, there is {fault} in the {region}.",
    "No, the {region} suffer{s} from {fault}.",
)
YES_ALL_CLEAR = ("Yes, there is no distortion.", "Yes, it has no distortion.", "Yes, all parts are clear.")
NO_CLEAN = ("No, there is no distortion.", "No, the image is clean.", "No, all parts are clear.")
