"""Descriptions of the whole image: requests (brief, with boxes, in words alone) and the sentences of the answers."""

BRIEF = (
    "Describe the quality of the image briefly.",
    "Summarize the image quality in one sentence.",
    "Give a short quality description.",
    "In a few words, how is the quality of this picture?",
    "Sum up the quality of the photo in one line.",
    "Say briefly what the quality of the image is like.",
    "Give me a one-line verdict on the image quality.",
    "How would you put the quality of this image in one sentence?",
    "Write a short sentence about the quality of the image.",
    "Briefly judge this picture's quality.",
)
# 15 requests for a description with boxes (GIQA-DES); some spell the format out, some just ask for places
BOXED = (
    "Describe the quality of the image in detail, with boxes.",
    "Give a detailed quality description and mark the regions by boxes.",
    "Explain in detail what lowers the quality and where, with boxes.",
    "Assess the image and locate every fault with a box.",
    "Describe the image quality and give the position of each region you mention as [name](<first cell, last cell>).",
    "Tell me what is wrong with this picture and where, using boxes on the 20x20 grid.",
    "Write a quality description in which every damaged region comes with its box.",
    "Where are the faults of this image, and how bad are they? Describe it with boxes.",
    "Please assess the quality and attach a box to each region.",
    "Give a full account of the image quality; put the cells of each faulty region in brackets behind its name.",
    "Describe in detail how the image looks and show the positions of what you describe.",
    "Point out all quality problems of the image by box and explain their effect.",
    "I need a quality report for this photo, with the place of every distortion.",
    "Comment on the quality of this image and ground each region in a box.",
    "Describe the distortions of the picture, their effect and their positions as boxes.",
)
# 26 requests for a description in words (IQA-Spider, task 1); no answer to them has boxes
WORDS = (
    "Describe the quality of the image in detail.",
    "Give a detailed description of the image quality.",
    "How is the quality of this image? Please explain.",
    "Assess the quality of this picture and give your reasons.",
    "What do you think about the quality of the photo?",
    "Explain the quality of the image and what lowers it.",
    "Please evaluate the quality of this image.",
    "Write a paragraph about the quality of this picture.",
    "Tell me in detail how good this image looks.",
    "Which faults does the image have, and what do they do to it?",
    "Describe what you see in terms of image quality.",
    "Give your opinion on the quality of this photo and support it.",
    "Look at the image closely and comment on its quality.",
    "What stands out about the quality of this picture?",
    "How clean is this image? Describe it in detail.",
    "Discuss the visual quality of the image.",
    "Please describe the distortions of the image and their effect.",
    "Provide an analysis of the quality of this photo.",
    "How much has this image suffered, and from what?",
    "Judge the picture by its quality and explain how you came to your verdict.",
    "Can you describe the quality of the given image?",
    "Report on the technical quality of the picture.",
    "Walk me through the quality of this image.",
    "What would you say about the clarity and the colors of this picture?",
    "If you had to review the quality of this photo, what would you write?",
    "In your own words, how does the quality of the image come across?",
)
# 20 requests beside the reference (DepictQA-Wild, detailed assessment)
REFERENCE = (
    "Compare the image with its reference and describe its quality in detail.",
    "What was lost between the reference and the image?",
    "Describe how the image differs from the reference in quality.",
    "With the reference beside it, assess the quality of the image.",
    "Explain what lowers the quality of the image as compared with the reference.",
    "Given the reference, give a detailed description of the image quality.",
    "How far is the image from the reference? Explain.",
    "Use the reference to judge the quality of the image.",
    "What happened to the reference to make it look like the image?",
    "The first picture is the reference. Describe the quality of the second one.",
    "Tell me in detail how the image was damaged relative to the reference.",
    "Judged against the reference, how good does the image look, and why?",
    "Describe the distortions that the image has and the reference does not.",
    "Assess how well the image keeps the quality of the reference.",
    "Hold the image against the reference and comment on its quality.",
    "Which changes from the reference to the image harm its quality?",
    "Write a quality report on the image with the reference as a guide.",
    "Next to the reference, what is wrong with the image?",
    "Evaluate the image against the reference and explain your verdict.",
    "Please describe what sets the image apart from the clean reference.",
)
COMPARED = "Compared with the reference, "  # opens some answers where the reference is shown

BRIEF_ANSWERS = (
    "The image shows {faults}, the quality is {verdict}.",
    "With {faults}, the image has {verdict} quality.",
    "The quality is {verdict}; the image shows {faults}.",
    "The picture has {faults}, and its quality is {verdict}.",
    "There is {faults} in the image; I would call the quality {verdict}.",
    "This is a picture of {verdict} quality with {faults}.",
)
BRIEF_CLEAN = (
    "No distortion, the quality is {verdict}.",
    "The image shows no distortion, the quality is {verdict}.",
    "With no visible distortion, the image has {verdict} quality.",
    "The quality is {verdict}; there is no distortion.",
    "This is a clean picture of {verdict} quality with no distortion.",
)
# one distortion somewhere; `{Where}` is "The whole image" or a region
FAULTS = (
    "{Where} show{s} {fault}, which {effect}.",
    "{Where} suffer{s} from {fault}, which {effect}.",
    "{Where} {is_} affected by {fault}, and this {effect}.",
    "There is {fault} in {where}, which {effect}.",
    "In {where}, {fault} {effect}.",
    "{Where} {has} {fault} that {effect}.",
    "I notice {fault} in {where}: it {effect}.",
    "What can be seen in {where} is {fault}, which {effect}.",
)
# one more in the same place
MORE = (
    "There is {fault} too, which {effect}.",
    "In addition, {fault} {effect}.",
    "Added to this is {fault}, which {effect}.",
    "Together with it, {fault} {effect}.",
    "Besides, there is {fault} that {effect}.",
)
CONTENT = (
    "The main parts of the image are {parts}.",
    "In the picture I can make out {parts}.",
    "The photo is made up of {parts}.",
)
REST = (
    "The rest of the image is clear.",
    "Everything else looks clean.",
    "All other parts are clear.",
    "Elsewhere the image looks natural.",
    "The remaining parts are not damaged.",
)
CLEAN = (
    "The image shows no distortion, edges are clear and tones are natural.",
    "There is no visible distortion: edges are sharp and colors look natural.",
    "I see no distortion; fine detail is there and smooth areas are clean.",
    "The picture has no distortion, with crisp detail and natural light.",
    "With no distortion to be seen, textures are crisp and tones run smoothly.",
    "The image is clean: it has no distortion, and light and colors look natural.",
)
VERDICTS = (
    "The overall quality is {verdict}.",
    "Overall, the quality is {verdict}.",
    "All in all, I would call the quality {verdict}.",
    "Taken together, the quality of the image is {verdict}.",
    "In sum, this is a picture of {verdict} quality.",
    "My verdict on the quality: {verdict}.",
)
