"""What is asked about the clips of the goal recipes, and answered by looking at them."""

from __future__ import annotations

from typing import NamedTuple


class Segment(NamedTuple):
    """A part of a clip: from and to as shares of its length, frames to take, and questions with their answers."""

    start: float
    end: float
    frames: int
    asked: dict[str, str]


CARS = {
    "What kind of ground is shown?": "Dark grey asphalt with short white lines at the edges.",
    "From where does the camera look at the scene?": "From high above, straight down.",
    "Is the camera still?": "Yes, it does not move.",
}
BOTTLES = {
    "What colour are the caps?": "Blue.",
    "What do the bottles stand on?": "A white table in front of a light grey wall.",
    "Is the camera still?": "Yes, it does not move.",
}
RABBIT = {
    "What animal is shown?": "A big grey rabbit.",
    "What grows around the hole in the ground?": "Bright green grass.",
    "Is this a drawing or a photograph?": "It is a computer animation.",
}

POOL = {
    "car-detection": {
        "a car leaves": Segment(0.10, 0.29, 12, {
            **CARS,
            "What happens after the ground was empty?": "A white car drives in from below.",
            "Where is the car at the end, and where was it first?": "It is at the upper edge; first it was at the lower one.",
            "In which direction does the car drive while it is seen?": "Upwards.",
        }),
        "nothing": Segment(0.31, 0.46, 6, {
            **CARS,
            "Does anything happen before the end of the clip?": "No, the ground stays empty.",
            "How many cars can be seen?": "None.",
            "What comes first, and what comes later?": "It is the same empty ground first and later.",
        }),
        "two cars": Segment(0.48, 0.66, 24, {
            **CARS,
            "What happens while the red car drives up?": "A light blue car comes down on the other side.",
            "Which colours do the cars have?": "Red and light blue.",
            "What is left after both cars have gone?": "The empty ground.",
        }),
    },
    "bottle-detection": {
        "the left one goes": Segment(0.0, 0.21, 32, {
            **BOTTLES,
            "What happens after a while?": "The left bottle is taken away.",
            "How many bottles are there before one is taken away?": "Three.",
            "Which bottles are left at the end?": "The middle one and the right one.",
        }),
        "the left one returns": Segment(0.22, 0.36, 8, {
            **BOTTLES,
            "What does the hand do after it enters?": "It puts a bottle down on the left.",
            "How many bottles are there first, and how many later?": "First two, later three.",
            "Which colour is the sleeve?": "Red.",
        }),
        "two go": Segment(0.36, 0.48, 12, {
            **BOTTLES,
            "What happens while both hands are seen?": "They take the left and the middle bottle away.",
            "How many bottles are left after that?": "One.",
            "Where does the last bottle stand?": "On the right.",
        }),
        "the middle one returns": Segment(0.48, 0.65, 16, {
            **BOTTLES,
            "Where is a bottle put down later?": "In the middle.",
            "How many bottles are there before the hand comes?": "One.",
            "Is any bottle open?": "No, each has its cap on.",
        }),
    },
    "bigbuckbunny": {
        "it climbs out": Segment(0.0, 0.27, 12, {
            **RABBIT,
            "Where is the rabbit first, and where later?": "First in its hole, later outside of it.",
            "What does the rabbit do after the clip begins?": "It climbs out of its hole.",
            "On what does its hand rest?": "On a grey stone.",
        }),
        "it stands up": Segment(0.28, 0.42, 6, {
            **RABBIT,
            "What happens after the rabbit has come out?": "It stands up and raises both arms.",
            "Does it stand up before it raises its arms?": "Yes.",
            "What is behind the meadow?": "Dark trees and flat rocks.",
        }),
        "it stretches": Segment(0.45, 0.72, 16, {
            **RABBIT,
            "What does the rabbit do while it stands there?": "It stretches its arms.",
            "Where are its arms?": "Up in the air.",
            "Does the rabbit walk away later?": "No, it stays where it is.",
        }),
    },
}  # fmt: skip

EVALUATION = {
    "car-detection": Segment(0.82, 0.97, 12, {
        "How many cars drive past in the course of the clip?": "One.",
        "What is to be seen once the white car is gone?": "Nothing but the ground.",
        "Which colour is the car?": "White.",
        "Which way does it go?": "Downwards.",
    }),
    "bottle-detection": Segment(0.76, 1.0, 24, {
        "Which bottle is taken away and then put back?": "The right one.",
        "How many bottles stand there at the end?": "Three.",
        "Which colour is the table?": "White.",
        "Does the middle bottle move at any time?": "No.",
    }),
    "bigbuckbunny": Segment(0.76, 1.0, 8, {
        "What does it do with its arms after stretching?": "It lowers them.",
        "Is the rabbit thin or fat?": "Fat.",
        "Which colour is the sky?": "Pale pink and blue.",
        "Does it go back into its hole before the clip ends?": "No.",
    }),
}  # fmt: skip
