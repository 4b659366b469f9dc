"""What is wrong with a given region: 14 questions for each of {one, two distortions} x {short, long}, and the answers.

The questions for one distortion also fit a clear region, as the tests' own question does.
"""

SHORT_SINGLE = (
    "List the distortions of the {region} as short phrases.",
    "Name severity and distortion of the {region}.",
    "What is wrong with the {region}? Answer in short phrases.",
    "Which distortion {does} the {region} have? Answer in a short phrase.",
    "Give the distortion of the {region} with its severity, nothing else.",
    "In a short phrase, what lowers the quality of the {region}?",
    "Severity and distortion of the {region}, please.",
    "How would you label the fault of the {region}? Use a short phrase.",
    "State in a few words what the {region} suffer{s} from.",
    "What distortion {is_} the {region} affected by, and how severe is it? Answer in a phrase.",
    "Put the damage of the {region} into a short phrase.",
    "Tell me briefly how severe the distortion of the {region} is and what it is.",
    "Which fault can be seen in the {region}? A short phrase will do.",
    "Short answer: what is the matter with the {region}?",
)
SHORT_TWO = (
    "List the distortions of the {region} as short phrases.",
    "Name the two distortions of the {region} with their severities.",
    "What two things are wrong with the {region}? Answer in short phrases.",
    "Which two distortions {does} the {region} have? Answer in short phrases.",
    "Give both distortions of the {region} with their severities, nothing else.",
    "In two short phrases, what lowers the quality of the {region}?",
    "Severity and distortion, twice, for the {region}, please.",
    "How would you label the two faults of the {region}? Use short phrases.",
    "State in a few words which two distortions the {region} suffer{s} from.",
    "Which two distortions {is_} the {region} affected by, and how severe are they? Answer in phrases.",
    "Put the double damage of the {region} into two short phrases.",
    "Tell me briefly which two distortions the {region} {has} and how severe each one is.",
    "Which pair of faults can be seen in the {region}? Short phrases will do.",
    "Short answer: which two distortions came over the {region}?",
)
LONG_SINGLE = (
    "Explain the distortions of the {region} and their effect.",
    "Describe severity, distortion and effect for the {region}.",
    "What is wrong with the {region}, and what does it do to the look?",
    "Which distortion {does} the {region} have, and what is its effect?",
    "How {is_} the {region} damaged, and how does one notice?",
    "Explain in a sentence what lowers the quality of the {region}.",
    "What happened to the {region}? Describe the distortion and what it causes.",
    "Tell me how severe the distortion of the {region} is and how it looks.",
    "Describe the fault of the {region} and how it changes the picture there.",
    "What {does} the {region} suffer from? Explain what can be seen.",
    "Name the distortion of the {region} and describe what it does.",
    "Give the distortion of the {region}, its severity and its effect in a full sentence.",
    "How does the distortion show itself in the {region}?",
    "Explain what a viewer would notice in the {region}.",
)
LONG_TWO = (
    "Explain the distortions of the {region} and their effect.",
    "Describe both distortions of the {region} with severity and effect.",
    "What two things are wrong with the {region}, and what do they do to the look?",
    "Which two distortions {does} the {region} have, and what is the effect of each?",
    "In which two ways {is_} the {region} damaged, and how does one notice?",
    "Explain in a sentence which two distortions lower the quality of the {region}.",
    "What happened to the {region}? Describe the two distortions and what they cause.",
    "Tell me how severe the two distortions of the {region} are and how they look.",
    "Describe the two faults of the {region} and how they change the picture there.",
    "Which two distortions {does} the {region} suffer from? Explain what can be seen.",
    "Name both distortions of the {region} and describe what each of them does.",
    "Give the two distortions of the {region}, their severities and their effects in full sentences.",
    "How do the two distortions show themselves in the {region}?",
    "Two distortions met in the {region}: explain them and what they do.",
)
SINGLE = (
    "This region shows {fault}, which {effect}.",
    "This region suffers from {fault}, which {effect}.",
    "There is {fault} here that {effect}.",
    "In this part, {fault} {effect}.",
    "What can be seen here is {fault}, which {effect}.",
    "This part is affected by {fault}: it {effect}.",
    "I notice {fault} in this part, and it {effect}.",
    "Here {fault} {effect}.",
)
TWO = (
    "This region shows {fault}, which {effect}, and {fault2}, which {effect2}.",
    "This region suffers from {fault} and {fault2}: the first {effect}, the second {effect2}.",
    "There is {fault} here that {effect}, together with {fault2}, which {effect2}.",
    "In this part, {fault} {effect}, while {fault2} {effect2}.",
    "Two distortions meet here: {fault} {effect}, and {fault2} {effect2}.",
    "This part is affected by {fault}, which {effect}. After that, {fault2} {effect2}.",
    "I notice {fault} that {effect}, and also {fault2} that {effect2}.",
    "First, {fault} {effect}; then, {fault2} {effect2}.",
)
CLEAR = (
    "This region shows no distortion, it is clear.",
    "There is no distortion here: detail and tones look natural.",
    "I see no distortion in this part, its edges are sharp.",
    "This part is clear and has no distortion.",
    "With no visible distortion, this region looks clean.",
)
