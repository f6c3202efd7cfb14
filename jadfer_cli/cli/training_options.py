"""Options of `jadfer train` and `jadfer evaluate`, one declaration each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jadfer_cli.cli.options import MACHINE_PANEL, OUTPUT_PANEL
from jadfer_cli.options import DETECTORS
from jadfer_cli.training import recipes

DATA_PANEL, TRAINING_PANEL = "Data", "Training"


def _data(help_text: str, *flags: str, **more: Any) -> Any:
    return typer.Option(*flags, help=help_text, rich_help_panel=DATA_PANEL, **more)


def _training(help_text: str, default: str | bool, *flags: str, **more: Any) -> Any:
    return typer.Option(
        *flags, help=help_text, rich_help_panel=TRAINING_PANEL, show_default=default, **more
    )


def _machine(help_text: str, **more: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=MACHINE_PANEL, **more)


def _output(help_text: str, *flags: str, **more: Any) -> Any:
    return typer.Option(*flags, help=help_text, rich_help_panel=OUTPUT_PANEL, **more)


# Data of both commands
_DETECTOR = f"Finds the landmarks that faces are aligned by: {DETECTORS}."
Dataset = Annotated[
    str | None,
    _data(
        "ferplus, rafdb, affectnet7, affectnet8, press_faces, folder or csv.", show_default=False
    ),
]
Data = Annotated[
    Path | None,
    _data(
        "Folder of the data set in its own layout; or FER+ as a zip file, or the CSV file.",
        show_default=False,
    ),
]
Votes = Annotated[
    Path | None,
    _data(
        "FER+: its fer2013new.csv; by default searched for in and beside --data.",
        show_default=False,
    ),
]
Classes = Annotated[
    list[str] | None,
    _data(
        "Expression that a class name of folder or csv stands for; may be repeated.",
        "--class",
        metavar="NAME=EXPRESSION",
        show_default=False,
    ),
]
Detector = Annotated[str | None, _data(_DETECTOR, show_default="auto")]
Cache = Annotated[
    Path | None,
    _data("Folder that caches landmarks; by default in your cache folder.", show_default=False),
]

TwinThreshold = Annotated[
    float | None,
    _data(
        "Correlation above which two pictures count as the same photograph (twins), 0.6 to 1. "
        "1: equal pictures only, e.g. for frames of one video.",
        show_default="0.68",
    ),
]

# Data of `evaluate`
Split = Annotated[str, _data("train, valid or test.")]
Protocol = Annotated[
    str | None,
    _data(
        "FER+: majority or plurality; printed first, and at the top of the JSON.",
        show_default="majority",
    ),
]
Refit = Annotated[
    bool,
    typer.Option(
        "--refit-temperature",
        rich_help_panel=MACHINE_PANEL,
        help="Fit the temperature on this data set's valid split, and use it.",
    ),
]
SuiteFile = Annotated[
    Path | None,
    _data(
        "Measure on all sets and clips that this TOML file lists, in one table; see the guide.",
        "--suite",
        show_default=False,
    ),
]
Beside = Annotated[
    list[str] | None,
    _data("With --suite: a further model for the table; may be repeated.", show_default=False),
]
JsonFile = Annotated[
    Path | None,
    _output(
        "Write all figures here, and the two charts beside it unless --plots is given.",
        "--json",
        show_default=False,
    ),
]
Probes = Annotated[
    bool,
    typer.Option(
        "--probes",
        rich_help_panel=MACHINE_PANEL,
        help="Also disturb the network's parts one by one, and print what each disturbance costs.",
    ),
]
ProbeFigure = Annotated[
    Path | None,
    _output(
        "Draw the network's spatial maps here (PNG, SVG or PDF), with --probes; by default "
        "probes.png beside the other charts.",
        show_default=False,
    ),
]
Plots = Annotated[
    Path | None, _output("Folder for confusion.png and reliability.png.", show_default=False)
]

# Data of `train`
Detectors = Annotated[
    list[str] | None,
    _data(
        f"{_DETECTOR} May be repeated: training picks one at random for "
        "each image, validation uses the first.",
        "--detector",
        show_default="auto",
    ),
]

DataSets = Annotated[
    list[str] | None,
    _data(
        "One of several data sets to train on together; may be repeated, the main one first. "
        "NAME is a layout; --set data_sets.NAME.weight=2 and the like say how it counts.",
        "--data-set",
        metavar="NAME=DIR",
        show_default=False,
    ),
]

# Training
RecipeName = Annotated[
    str | None,
    _training(
        f"Training method: {', '.join(recipes.names())}. `jadfer recipes` describes them.",
        recipes.DEFAULT,
    ),
]
ConfigFile = Annotated[
    Path | None,
    _training(
        "Options in TOML, such as the config.toml of another run; options given here "
        "override them.",
        False,
    ),
]
StartWeights = Annotated[
    str | None,
    _training(
        "scratch; default, a model's name or a .safetensors file: fine-tune it, or use its "
        "stem if it is of another architecture; or a PyTorch state dict (.pt): of "
        "MobileFaceNet, of a stem, of a whole network.",
        "scratch",
    ),
]
Init = Annotated[
    str | None,
    _training(
        "As --start, for a network of another size or recipe: tensors that fit are used, the "
        "others are listed.",
        "none",
    ),
]
Stem = Annotated[str | None, _training("mobilefacenet or ir50.", "mobilefacenet")]
Epochs = Annotated[int | None, _training("Passes over the training images.", "30; fine-tuning: 10")]
BatchSize = Annotated[int | None, _training("Faces per step.", "64")]
Optimiser = Annotated[
    str | None,
    _training("adamw; sam: sharpness-aware, takes twice the time; sgd; or adam.", "adamw"),
]
LearningRate = Annotated[
    float | None, _training("Peak learning rate of the new modules.", "1e-3; fine-tuning: 2e-4")
]
StemLearningRate = Annotated[
    float | None, _training("Peak learning rate of the stem.", "3e-4; fine-tuning: 5e-5")
]
WeightDecay = Annotated[float | None, _training("Weight decay.", "0.05")]
Schedule = Annotated[
    str | None,
    _training(
        "cosine; trapezoid: constant, then falling over the last --cooldown epochs; step: a tenth "
        "every ten epochs; or exponential: 0.9 times every epoch. A trapezoid run can be resumed "
        "with more --epochs.",
        "cosine",
    ),
]
Cooldown = Annotated[
    float | None, _training("Number of final epochs in which a trapezoid falls to 0.", "4")
]
Variety = Annotated[
    str | None,
    _training("Variety loss of the recipe jadfer: cosine, partition or none.", "cosine"),
]
VarietyWeight = Annotated[float | None, _training("Weight of the Variety loss.", "0.1")]
LabelSmoothing = Annotated[
    float | None, _training("Fraction of each label distributed evenly over all classes.", "0.05")
]
Teachers = Annotated[
    list[str] | None,
    _training(
        "default, a model's name or a .safetensors file: its probabilities, averaged over "
        "views, are mixed into the labels. May be repeated: the mean of all.",
        "none",
    ),
]
TeacherWeight = Annotated[
    float | None, _training("Weight of the teachers' probabilities, 0 to 1.", "0.5")
]
Augment = Annotated[
    bool | None,
    _training("Augment images; set single steps with --set augmentation.STEP=VALUE.", "on"),
]
Balance = Annotated[
    float | None,
    _training(
        "Draw images with weight (size of their class) ** -BALANCE. 0: natural frequencies; "
        "1: all classes equally often.",
        "0.25",
    ),
]
MovingAverage = Annotated[
    float | None, _training("Decay of the averaged weights per step.", "0.998", "--ema")
]
FrozenBlocks = Annotated[
    int | None,
    _training("Freeze the stem's entry and its first N blocks, which saves time.", "none frozen"),
]
Seed = Annotated[
    int | None, _training("Seed of order, augmentation, dropout and new weights.", "0")
]
Settings = Annotated[
    list[str] | None,
    _training(
        "Any other entry of config.toml, which lists all; may be repeated.",
        False,
        "--set",
        metavar="KEY=VALUE",
    ),
]

# Machine and output
Precision = Annotated[
    str | None, _machine("fp32, or bf16 on hardware that is fast at it.", show_default="fp32")
]
Workers = Annotated[
    int | None,
    _machine("Processes that prepare images.", show_default="half of the cores, at most 8"),
]
RunFolder = Annotated[Path, _output("Folder of the run.", "--out", "-o", show_default=False)]
