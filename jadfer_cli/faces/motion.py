"""The state of faces that are followed from frame to frame by the network of `follower`.

Where a detector found a face, the network looks at that face as well. The difference between the
two is added to what the network says about the frames that follow: landmarks then continue those
of the detector, whatever detector it is, and the box keeps its place on the face.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.follower import INTEROCULAR_PX, Followed, inverted, moved, placement
from jadfer_cli.records import BoolArray, Faces

if TYPE_CHECKING:
    from jadfer_cli.records import ImageArray

Array = npt.NDArray[np.float64]

MIN_PRESENCE = 0.5
MAX_ERROR = 0.14  # expected error of the landmarks, in interocular distances
MAX_OFFSET = 0.25  # between detector and network, in interocular distances
_LARGE_MOVE = 0.10  # in interocular distances: the crop is then placed again
_MIN_VISIBLE = 0.5  # of the box; with less, the detector decides


class FollowerNetwork(Protocol):
    """What `follower.Follower` does."""

    def __call__(self, image_rgb: ImageArray, landmarks_px: npt.ArrayLike, /) -> Followed:
        """Find n faces again, near landmarks (n, 5, 2)."""


class Located(NamedTuple):
    """Where n faces are by the network.

    Attributes:
        faces: In the order in which they began.
        sure: bool (n,), whether each is reliable.
    """

    faces: Faces
    sure: BoolArray


class _State(NamedTuple):
    """n faces.

    Attributes:
        landmarks: (n, 5, 2), in the last frame.
        velocity: (n, 2), px from the frame before.
        offset: (n, 5, 2), from network to detector, in pixels of the crop.
        centre, size: (n, 2), of the box, in pixels of the crop.
        scores: (n,), of the last detection.
        trusted: (n,), the network recognised the face where it was detected.
    """

    landmarks: Array
    velocity: Array
    offset: Array
    centre: Array
    size: Array
    scores: Array
    trusted: BoolArray

    def replaced(self, at: BoolArray, other: _State) -> _State:
        """This state with the faces at a mask (n,) from another, which has those only."""
        arrays: dict[str, Any] = {name: array.copy() for name, array in self._asdict().items()}
        for name, values in other._asdict().items():
            arrays[name][at] = values
        return _State(**arrays)


class MotionTracker:
    """Follows the faces of one video.

    Args:
        network: Finds faces near their last landmarks.
        min_face_px: Faces with a shorter side of the box below this are left to the detector.

    Attributes:
        measured: bool (n,), which faces of the last frame the detector placed.
    """

    def __init__(self, network: FollowerNetwork, min_face_px: float) -> None:
        self._network, self._min_face_px = network, min_face_px
        self._state: _State | None = None
        self.measured: BoolArray = np.zeros(0, np.bool_)

    def start(self, image_rgb: ImageArray, faces: Faces) -> None:
        """Begin with faces that were detected in this frame; what was before is forgotten."""
        self._state = self._started(image_rgb, faces) if len(faces) else None
        self.measured = np.ones(len(faces), np.bool_)

    def next(self, image_rgb: ImageArray) -> Located:
        """Follow all faces into the next frame.

        Args:
            image_rgb: uint8 (height, width, 3).

        Returns:
            The faces. Those that are not reliable have to be detected, and then passed to
            `correct`.
        """
        state = self._state
        if state is None:
            return Located(Faces.none(), np.zeros(0, np.bool_))
        self.measured = np.zeros(len(state.landmarks), np.bool_)
        begin = state.landmarks + state.velocity[:, None]
        landmarks, presence, error = self._located(image_rgb, begin, state.offset)
        spread = np.linalg.norm(landmarks - begin, axis=2).mean(axis=1)
        far = spread > _LARGE_MOVE * self._interocular(landmarks)
        if far.any():  # a face near the middle of the crop is located best
            again = self._located(image_rgb, landmarks[far], state.offset[far])
            landmarks[far], presence[far], error[far] = again
        step = (landmarks - state.landmarks).mean(axis=1)
        self._state = state._replace(landmarks=landmarks, velocity=step)
        boxes, visible = self._boxes(image_rgb.shape)
        shorter = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
        sure = (
            state.trusted
            & (presence >= MIN_PRESENCE)
            & (error <= MAX_ERROR)
            & (visible >= _MIN_VISIBLE)
            & (shorter >= self._min_face_px)
        )
        faces = Faces(
            boxes.astype(np.float32),
            state.scores.astype(np.float32),
            landmarks.astype(np.float32),
            np.ones(len(boxes), np.bool_),
        )
        return Located(faces, sure)

    def correct(self, image_rgb: ImageArray, which: BoolArray, faces: Faces) -> None:
        """Take some faces from the detector instead.

        Args:
            image_rgb: The frame of the last `next`.
            which: bool (n,), the faces to replace.
            faces: Their detections in this frame.
        """
        if self._state is not None:
            self.measured = self.measured | which
            detected = self._started(image_rgb, faces)
            step = (detected.landmarks - self._state.landmarks[which]).mean(axis=1)
            detected = detected._replace(velocity=self._state.velocity[which] + step)
            self._state = self._state.replaced(which, detected)

    def _started(self, image_rgb: ImageArray, faces: Faces) -> _State:
        landmarks = faces.landmarks_px.astype(np.float64)
        maps = placement(landmarks)
        found = self._network(image_rgb, landmarks)
        offset = moved(landmarks, maps) - moved(found.landmarks_px, maps)
        size = np.linalg.norm(offset, axis=2).mean(axis=1) / INTEROCULAR_PX
        trusted = (
            (found.presence >= MIN_PRESENCE) & (found.error <= MAX_ERROR) & (size <= MAX_OFFSET)
        )
        boxes = faces.boxes_px.astype(np.float64).reshape(-1, 2, 2)
        centre = moved(boxes.mean(axis=1, keepdims=True), maps)[:, 0]
        zoom = np.sqrt(np.linalg.det(maps[:, :, :2]))
        return _State(
            landmarks,
            np.zeros((len(faces), 2)),
            offset,
            centre,
            (boxes[:, 1] - boxes[:, 0]) * zoom[:, None],
            faces.scores.astype(np.float64),
            np.asarray(trusted, np.bool_),
        )

    def _located(
        self, image_rgb: ImageArray, begin: Array, offset: Array
    ) -> tuple[Array, Array, Array]:
        """Landmarks (m, 5, 2), presence (m,) and error (m,) of faces expected at `begin`."""
        maps = placement(begin)
        found = self._network(image_rgb, begin)
        turn = inverted(maps)[:, :, :2]
        landmarks = found.landmarks_px + offset @ turn.transpose(0, 2, 1)
        return (
            landmarks.astype(np.float64),
            found.presence.astype(np.float64),
            found.error.astype(np.float64),
        )

    def _interocular(self, landmarks: Array) -> Array:
        """Distance (n,) between the eyes of the aligned face; also in profile it is not small."""
        interocular: Array = INTEROCULAR_PX / np.sqrt(np.linalg.det(placement(landmarks)[:, :, :2]))
        return interocular

    def _boxes(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Boxes (n, 4) clipped to the frame, and the part (n,) of each inside it."""
        state = self._state
        assert state is not None
        back = inverted(placement(state.landmarks))
        centre = moved(state.centre[:, None], back)[:, 0]
        half = state.size * np.sqrt(np.linalg.det(back[:, :, :2]))[:, None] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        clipped = np.clip(boxes.reshape(-1, 2, 2), 0, shape[1::-1]).reshape(-1, 4)
        inside = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1)
        return clipped, inside / np.maximum((2 * half).prod(axis=1), 1e-9)
