"""Training on stored fine maps: the front of the stem is frozen and computed once per view.

Whatever follows the fine map (`Network.score`) trains as usual, by the same loop and recipes. Each
image is stored in several augmented views and their mirror images; an epoch draws one of them.
So many recipes, labellings and seeds can be compared in the time that one of them takes with its
stem. Augmentation is limited to the stored views.

The file of a set is named by a hash of everything that decides it: the weights in front of the fine
map, images, alignment and augmentation. Labels are not among them. An interrupted computation is
resumed. One view of an image at 112 px takes 100 kB.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch.utils.data import DataLoader

from jadfer_cli.common import explain_os_errors
from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.base import OWN, Network, Output
from jadfer_cli.expression.networks.stems import STEMS
from jadfer_cli.training import loop
from jadfer_cli.training.augment import NO_AUGMENTATION, AugmentOptions
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.scoring import pixels_of
from jadfer_cli.training.start import Start
from jadfer_cli.training.trainer import Trainer

_BATCH = 64  # part of the result: a sum may round differently in another batch


@dataclass(frozen=True)
class FineMaps:
    """The stored maps of a face set.

    Attributes:
        key: Hash of all that decides them.
        rows: Records (views, m) of "maps" (2, C', H', W'), bfloat16 as int16, of the view and of
            its mirror image; and of "placements", float32 (2, 2, 3), of the same two.
        which: (n,), the rows of the set's images; None for all.
    """

    key: str
    rows: npt.NDArray[Any]
    which: npt.NDArray[np.intp] | None = None

    def take(self, which: npt.NDArray[np.intp]) -> FineMaps:
        """The maps of some images, so that several labellings share one file."""
        return dataclasses.replace(self, which=which if self.which is None else self.which[which])

    def plain(self, start: int, stop: int) -> torch.Tensor:
        """Maps, bfloat16 (b, C', H', W'), of the first view of images `start` to `stop`."""
        rows = slice(start, stop) if self.which is None else self.which[start:stop]
        return _bfloat16(self.rows[0, rows]["maps"][:, 0])

    def at(
        self, view: int, index: int, mirrored: bool
    ) -> tuple[torch.Tensor, npt.NDArray[np.float32]]:
        """Maps, bfloat16 (2, C', H', W'), of an image and of its mirror image, or the reverse.

        Returns:
            The maps, and the map (2, 3) from pixels of the picture to those of the first crop.
        """
        position = index if self.which is None else self.which[index]
        row, first = self.rows[view, position], int(mirrored)
        maps = row["maps"][::-1] if mirrored else row["maps"]
        return _bfloat16(maps), row["placements"][first].copy()


class StoredViews(Crops):
    """Items as of `Crops`, but float maps (2, C', H', W') of a stored view and its mirror image."""

    def __init__(self, faces: FaceSet, maps: FineMaps, size_px: int, seed: int) -> None:
        super().__init__(faces, size_px, None, seed)
        self.maps = maps

    def __getitem__(
        self, item: int | tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor, int, npt.NDArray[np.float32]]:
        draw, index = item if isinstance(item, tuple) else (0, item)
        rng = np.random.default_rng((self.seed, self.epoch, draw, index))
        view, mirrored = int(rng.integers(len(self.maps.rows))), bool(rng.integers(2))
        maps, placement = self.maps.at(view, index, mirrored)
        return maps, torch.from_numpy(self.faces.targets[index]), index, placement


class CachedTrainer(Trainer):
    """A trainer whose faces are stored fine maps; arguments as of `Trainer`, and two sets of maps.

    Raises:
        OptionError: The recipe's second view is not the mirror image.
    """

    def __init__(self, *args: Any, maps: FineMaps, valid_maps: FineMaps) -> None:
        super().__init__(*args)
        self.maps, self.valid_maps = maps, valid_maps
        self.data += f" {maps.key} {valid_maps.key}"
        probe = torch.arange(6.0).view(1, 1, 2, 3)
        second = self.recipe.second_view
        if second is not None and not torch.equal(second(probe), probe.flip(-1)):
            raise OptionError(
                f"The recipe {self.options.recipe} needs a second view that is not stored.",
                "Train it on crops.",
            )

    def dataset(self, faces: FaceSet) -> Crops:
        """Stored views of the training images."""
        return StoredViews(faces, self.maps, self.options.network.crop_px, self.options.seed)

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Maps, float (B, 2, C', H', W'), on the device."""
        return images.to(self.device, non_blocking=True).float()

    def views(self, faces: torch.Tensor) -> list[torch.Tensor]:
        """The maps (B, C', H', W') and, if the recipe has a second view, those of mirror images."""
        wanted = faces[:, : 1 if self.recipe.second_view is None else 2]
        return [view.contiguous(memory_format=torch.channels_last) for view in wanted.unbind(1)]

    def forward(self, view: torch.Tensor) -> Output:
        """The output of all that follows the fine map."""
        return self.network.score(view)

    @torch.no_grad()
    def validation_logits(self, faces: FaceSet) -> torch.Tensor:
        """Logits (n, K) by the averaged weights, of the stored maps, in the training's precision.

        In single precision it would be a large part of a training whose front is stored.
        """
        network = self.averaged.eval()
        bf16 = self.options.precision == "bf16"
        parts = []
        for start in range(0, len(faces), 256):
            maps = self.prepared(self.valid_maps.plain(start, start + 256))
            maps = maps.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                logits = network.score(maps).logits
            parts.append(logits.float().cpu())
        return torch.cat(parts)


def fine_maps(
    network: Network,
    faces: FaceSet,
    folder: Path,
    *,
    views: int = 1,
    augmentation: AugmentOptions | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n: None,
) -> FineMaps:
    """Computes the fine maps of a face set, or opens those that are stored.

    Args:
        network: Its stem computes the maps, on its device; set to eval mode.
        faces: Aligned faces.
        folder: Where the file is kept.
        views: Views per image: the first without augmentation; each is also mirrored.
        augmentation: Of the other views. Its flip is ignored.
        seed: Seeds the augmentation.
        progress: Called with the number of stored views so far, of views x images.

    Raises:
        OptionError: The network brings a stem of its own.
        OutputError: The file cannot be written.
    """
    if network.config.stem == OWN:
        raise OptionError("Fine maps are stored for the stems of the program only.")
    options = NO_AUGMENTATION  # a single view has none
    if views > 1:
        options = dataclasses.replace(augmentation or AugmentOptions(), flip=0.0)
    key = _key(network, faces, views, options, seed)
    side = network.config.crop_px // network.stem.fine_reduction
    row = np.dtype(
        [("maps", "<i2", (2, network.stem.fine_channels, side, side)),
         ("placements", "<f4", (2, 2, 3))]
    )  # fmt: skip
    file = folder / f"fine-{key}.bin"
    part = file.with_suffix(".part")
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # another run may compute the same
        with explain_os_errors(part), FileLock(file.with_suffix(".lock")):
            if not file.exists():
                with part.open("ab") as out:
                    for view in range(views):
                        crops = Crops(
                            faces, network.config.crop_px, options if view else None, seed
                        )
                        crops.epoch = view
                        _append(network, crops, view * len(faces), out, row, progress)
                part.replace(file)
    rows = np.memmap(file, row, "r", shape=(views, len(faces)))
    return FineMaps(key, rows)


def train(
    options: TrainOptions,
    train_set: FaceSet,
    valid_set: FaceSet,
    out: Path,
    *,
    start: Start,
    folder: Path,
    views: int = 4,
    maps: tuple[FineMaps, FineMaps] | None = None,
    device: str = "cpu",
    callbacks: loop.Callbacks | None = None,
) -> Network:
    """Trains as `loop.train` does, but on stored fine maps; the front of the stem stays.

    Args:
        options: As of `loop.train`. Augmentation decides the stored views.
        train_set: As of `loop.train`.
        valid_set: As of `loop.train`.
        out: As of `loop.train`.
        start: Must hold the weights of a stem; a random one is of no use.
        folder: Where the maps are kept, for all runs.
        views: Views per training image.
        maps: Those of the labelled training images and of validation; None to compute or find
            them.
        device: "cpu" or "cuda:N".
        callbacks: As of `loop.train`.

    Raises:
        OptionError: There are no start weights; or as of `loop.train`.
        OutputError: The maps cannot be written; or as of `loop.train`.
    """
    if not (start.whole or start.stem):
        raise OptionError("Stored maps need the weights of a trained stem.", "Give a `start`.")
    labelled, _ = train_set.labelled()
    network = start.build(options.network).to(device)
    # the views do not depend on the run's seed, so that all seeds share them
    own, valid_maps = maps or (
        fine_maps(network, labelled, folder, views=views, augmentation=options.augmentation),
        fine_maps(network, valid_set, folder),
    )
    make = functools.partial(CachedTrainer, maps=own, valid_maps=valid_maps)
    return loop.train(
        dataclasses.replace(options, workers=0),  # reading rows needs no processes
        train_set, valid_set, out, start=start, device=device, callbacks=callbacks, make=make,
    )  # fmt: skip


def _bfloat16(bits: npt.NDArray[np.int16]) -> torch.Tensor:
    return torch.from_numpy(np.array(bits)).view(torch.bfloat16)  # a copy: the file is read-only


@torch.no_grad()
def _append(
    network: Network,
    crops: Crops,
    before: int,
    out: Any,
    row: np.dtype[Any],
    progress: Callable[[int], None],
) -> None:
    """Appends one view of all images, from the first batch that is not in the file."""
    device = next(network.parameters()).device
    network.eval()
    stored = out.seek(0, os.SEEK_END) // row.itemsize - before  # rows of this view
    first = max(min(stored, len(crops)), 0)
    first -= first % _BATCH if first < len(crops) else 0
    if stored < len(crops):
        out.truncate((before + first) * row.itemsize)
    side = network.config.crop_px
    mirror = np.array([[-1, 0, side - 1], [0, 1, 0], [0, 0, 1]], np.float32)
    loader = DataLoader(crops, _BATCH, sampler=range(first, len(crops)))
    for images, _, _, placements in loader:
        rows = np.empty(len(images), row)
        pixels = pixels_of(images, device)
        for k, view in enumerate((pixels, pixels.flip(-1))):
            maps = network.fine(view.contiguous(memory_format=torch.channels_last))
            bits = maps.to(torch.bfloat16).contiguous().view(torch.int16)
            rows["maps"][:, k] = bits.cpu().numpy()
        rows["placements"][:, 0] = placements.numpy()
        rows["placements"][:, 1] = (mirror @ _square(placements.numpy()))[:, :2]
        out.write(rows.tobytes())
        out.flush()
        first += len(images)
        progress(before + first)


def _square(matrices: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Maps (n, 2, 3) with the row (0, 0, 1)."""
    last = np.broadcast_to(np.array([[[0, 0, 1]]], np.float32), (len(matrices), 1, 3))
    return np.concatenate([matrices, last], 1)


def _key(network: Network, faces: FaceSet, views: int, options: AugmentOptions, seed: int) -> str:
    with torch.device("meta"):
        front = STEMS[network.config.stem]()
        front.end_at_fine()
    state = network.stem.state_dict()
    digest = hashlib.sha256(
        f"{network.config.stem} {network.config.crop_px} {views} {options} {seed}".encode()
    )
    for tensor in (network.mean, network.std, *(state[name] for name in front.state_dict())):
        digest.update(tensor.detach().cpu().numpy().tobytes())
    for index in range(len(faces)):
        digest.update(faces.digest(index))
    if faces.landmarks_px is not None:
        digest.update(faces.landmarks_px.tobytes())
    return digest.hexdigest()[:16]
