"""How many broken inputs there are."""

from test_broken_annotations import FILES as ANNOTATIONS
from test_broken_archives import KAGGLE, MIMIC, OPEN_I, TABLES
from test_broken_checkpoints import FILES as CHECKPOINTS
from test_broken_flags import FLAGS
from test_broken_folders import TEXT, VISION
from test_broken_images import DICOM, IMAGES
from test_broken_predictions import FILES as PREDICTIONS
from test_broken_stores import DAMAGE
from test_broken_tables import LEFT_OUT, REFUSED


def test_there_are_three_hundred_broken_inputs(capsys):
    counts = {
        "annotations": len(ANNOTATIONS),
        "images": len(IMAGES),
        "DICOM": len(DICOM),
        "tables": len(REFUSED) + len(LEFT_OUT),
        "archives": len(MIMIC) + 2 * len(TABLES) + len(OPEN_I) + len(KAGGLE),
        "predictions": len(PREDICTIONS),
        "feature stores": len(DAMAGE),
        "checkpoints": len(CHECKPOINTS),
        "folders of models": len(TEXT) + len(VISION),
        "flags": sum(map(len, FLAGS.values())),
    }
    with capsys.disabled():
        print(
            f"\n{sum(counts.values())} broken inputs: " + ", ".join(f"{count} {name}" for name, count in counts.items())
        )
    assert min(counts.values()) >= 25
    assert sum(counts.values()) >= 300
