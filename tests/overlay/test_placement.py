"""Tags and panels hide neither heads nor each other, at any size of the picture."""

import numpy as np
import pytest
from made import sure

from jadfer_cli.labels import LABELS
from jadfer_cli.overlay import placement
from jadfer_cli.overlay.painter import DrawnFace, Painter, font_sizes


@pytest.mark.parametrize("size", [(320, 240), (640, 360), (3840, 2160)])
@pytest.mark.parametrize("place", [(0.3, 0.3), (0.02, 0.02), (0.6, 0.5)])
def test_panel_and_tag_are_visible_as_a_whole_and_off_the_head(size, place):
    width, height = size
    box = np.array([place[0] * width, place[1] * height, 0, 0])
    box[2:] = box[:2] + np.array([0.15 * width, 0.3 * height])
    (font,) = font_sizes(box[None, 3] - box[None, 1], size)
    face = DrawnFace(box, 3, True, sure("fear", 0.75), font)
    grey = np.full((height, width, 3), 120, np.uint8)
    painter = Painter(LABELS, 3, unusable=False)
    panel = painter._panel_place(face, size, [placement.head_box(box)])
    assert (panel[:2] >= 0).all() and (panel[2:] <= size).all()
    for other in (placement.head_box(box),):
        wide, high = np.minimum(panel[2:], other[2:]) - np.maximum(panel[:2], other[:2])
        assert wide <= 1 or high <= 1
    drawn = grey.copy()
    painter.paint(drawn, [face])
    x1, y1, x2, y2 = panel.astype(int)
    without_tag = grey.copy()
    painter._draw_bars(without_tag, face, panel)
    assert (drawn[y1:y2, x1:x2] == without_tag[y1:y2, x1:x2]).all()  # no tag on the panel


def test_a_panel_stays_on_its_side_unless_another_is_far_better():
    places = [np.array([x, 0.0, x + 10, 10]) for x in (0, 100)]
    slightly, mostly = [np.array([0.0, 0, 10, 1])], [np.array([0.0, 0, 10, 9])]
    assert placement.least_hidden(places, slightly)[0] == 1
    assert placement.least_hidden(places, slightly, keep=0)[0] == 0
    assert placement.least_hidden(places, mostly, keep=0)[0] == 1
