"""The networks, loaded once for the tests of this folder."""

import pytest


@pytest.fixture(scope="session")
def annotator():
    """With the embedded detector, which is the one on a fresh machine."""
    from jadfer_cli import AnnotateOptions, FaceOptions
    from jadfer_cli.pipeline.annotator import Annotator

    return Annotator(AnnotateOptions(faces=FaceOptions(detector="centerface")))


@pytest.fixture(scope="session")
def rows_of(annotator):
    """Returns the rows of a video."""
    return annotator.annotate
