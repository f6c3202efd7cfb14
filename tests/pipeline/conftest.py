"""The networks, loaded once for the tests of this folder."""

import pytest


@pytest.fixture(scope="session")
def annotator():
    """Uses the embedded detector, which a fresh installation has."""
    from jadfer_cli import AnnotateOptions, FaceOptions
    from jadfer_cli.pipeline.annotator import Annotator

    return Annotator(AnnotateOptions(faces=FaceOptions(detector="centerface")))


@pytest.fixture(scope="session")
def rows_of(annotator):
    """Returns the rows of a video."""
    return annotator.annotate
