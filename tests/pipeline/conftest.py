"""The networks, loaded once for the tests of this folder."""

import pandas as pd
import pytest


@pytest.fixture(scope="session")
def annotator():
    """With the embedded detector, which is the one on a fresh machine."""
    from jadfer_cli import AnnotateOptions, FaceOptions
    from jadfer_cli.pipeline.annotator import Annotator

    return Annotator(AnnotateOptions(faces=FaceOptions(detector="centerface")))


@pytest.fixture(scope="session")
def rows_of(annotator):
    """Rows of a video."""
    from jadfer_cli.results.schema import result_table

    def rows(path) -> pd.DataFrame:
        with annotator.open(path) as run:
            tables = [result_table(part, run.video, annotator.labels) for part in run.frames()]
            frame = pd.concat([table.to_pandas() for table in tables], ignore_index=True)
            frame.attrs["jadfer"] = run.metadata()
        return frame

    return rows
