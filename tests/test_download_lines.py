"""docs/published_weights.md: what its lines fetch lies where the code looks, under the flag that stands above."""

import re
import shlex
from pathlib import Path

import pytest

from modules.options.flags import BERT_FOLDER
from modules.options.parsing import build_parser, parse_options
from modules.options.programs import PROGRAMS, MainPrepare
from modules.preparation.features.medklip import CLINICAL_BERT, medklip_files
from modules.weights.backbones import needed_backbone
from modules.weights.bert import BERT_FILES

ROOT = Path(__file__).parents[1]
PAIR = re.compile(r"^    # .+ (--\w+)\n    (.+)$", re.MULTILINE)


def fetched():
    """The flag above each line, and the files that the line leaves."""
    found = []
    for flag, line in PAIR.findall((ROOT / "docs/published_weights.md").read_text(encoding="utf-8")):
        words = shlex.split(line)
        if words[:2] == ["hf", "download"]:
            cut = words.index("--local-dir")
            found.append((flag, {f"{words[cut + 1]}/{name}" for name in words[3:cut]}))
        elif words[0] == "curl":
            found.append((flag, {words[words.index("-o") + 1]}))
        else:  # a folder of Google Drive
            found.append((flag, {f"{words[words.index('-O') + 1]}/checkpoint_final.pth"}))
    return found


def expected():
    """The same from the code: what a program reads where no flag says otherwise, or what its scripts name."""
    options = parse_options(MainPrepare, ["--dataset_name", "mimic_cxr", "--entity_scorer", "medklip"])
    weights, descriptions, *clinical = (str(needed.path) for needed in medklip_files(options))
    scripts = (ROOT / "environment.sh").read_text(encoding="utf-8")
    resnet = re.search(r"--resnet_weights (\S+)\)", scripts)[1]
    folder = re.search(r"--visual_extractor hf:(\S+)\)", scripts)[1]
    assert "named after" not in needed_backbone(resnet, "resnet101").what  # the name is that of the network
    assert Path(clinical[0]).parent == Path(CLINICAL_BERT)
    return [
        ("--bert_path", {f"{BERT_FOLDER}/vocab.txt", f"{BERT_FOLDER}/{BERT_FILES[0]}"}),
        ("--resnet_weights", {resnet}),
        ("--chexbert_path", {options.labeler.chexbert_path}),
        ("--medklip_checkpoint", {weights}),
        ("--entity_descriptions", {descriptions}),
        ("--bert_path", {*clinical, f"{CLINICAL_BERT}/{BERT_FILES[1]}"}),
        (
            "--visual_extractor",
            {f"{folder}/{name}" for name in ("config.json", "preprocessor_config.json", BERT_FILES[0])},
        ),
    ]


@pytest.mark.parametrize(("told", "read"), list(zip(fetched(), expected(), strict=True)))
def test_a_line_fetches_what_the_code_reads(told, read):
    assert told == read


def test_the_flags_are_those_of_programs():
    known = {
        word for program in PROGRAMS for action in build_parser(program)._actions for word in action.option_strings
    }
    assert {flag for flag, _ in fetched()} <= known
