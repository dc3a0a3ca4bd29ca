"""The command lines: published spellings and defaults, and no flag that nothing reads."""

import ast
import re
from pathlib import Path

import pytest

from modules.flags import DATASET_DEFAULTS, PROGRAMS
from modules.options import build_parser, model_config, parse_options

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for path in [*ROOT.glob("m*/**/*.py"), *ROOT.glob("main_*.py")] if path.name not in ("flags.py", "options.py")
]
PUBLISHED_SPELLING = """--c --h_dim --d_model --nhead --gen_max_len --gen_min_len --cls_weight --rank_weight --align_weight
    --clip_k --beam_size --load_pretrained --image_dir --ann_path --dataset_name --save_dir --init_lr --min_lr --warmup_lr
    --warmup_steps --weight_decay --seed --device --n_gpu"""


def actions(program):
    return [action for action in build_parser(program)._actions if action.dest != "help"]


def test_flags_keep_their_published_spelling():
    spelled = {flag for program in PROGRAMS for action in actions(program) for flag in action.option_strings}
    assert set(PUBLISHED_SPELLING.split()) <= spelled


def test_mimic_defaults_are_the_published_setting():
    options = parse_options("train", ["--dataset_name", "mimic_cxr"])
    published = {
        "batch_size": 18, "epochs": 6, "init_lr": 5e-5, "min_lr": 5e-6, "warmup_lr": 5e-7, "warmup_steps": 2000,
        "weight_decay": 0.05, "clip_grad_value": 0.1, "seed": 456789, "curvature": 0.01, "hyperbolic_dim": 512,
        "attention_dim": 1024, "num_heads": 8, "cls_weight": 4.0, "align_weight": 0.5, "rank_weight": 2.0, "beam_size": 3,
        "gen_min_len": 100, "gen_max_len": 150, "max_words": 100, "image_size": 224, "visual_extractor": "resnet101",
        "decoder_layers": 12, "hidden_size": 768, "label_smoothing": 0.1, "ot_epsilon": 0.05, "ot_iterations": 100,
    }  # fmt: skip
    assert {name: vars(options)[name] for name in published} == published
    assert parse_options("test", ["--dataset_name", "iu_xray"]).gen_min_len == 60
    assert parse_options("test", ["--dataset_name", "iu_xray"]).gen_max_len == 110


@pytest.mark.parametrize("name", DATASET_DEFAULTS)
def test_the_defaults_of_every_data_set_make_a_model(name):
    options = parse_options("train", ["--dataset_name", name])
    width = options.text_width if hasattr(options, "text_width") else DATASET_DEFAULTS[name]["text_width"]
    config = model_config(
        options, report_feature_dim=width, entity_text_dim=768, vocab_size=100, pad_id=0, end_id=2
    )  # fmt: skip
    assert config.prompt_length == 19


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_every_flag_with_a_sentence(program, capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_options(program, ["--help"])
    text = capsys.readouterr().out
    for action in actions(program):
        assert action.help, action.option_strings
        assert action.option_strings[0] in text


def test_every_flag_is_read_somewhere():
    """A flag that changes nothing is a lie; its name must appear outside the place that declares it."""
    read = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                read.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                read.add(node.target.id)  # fields of RevtafConfig are read out of the options by name
    declared = {action.dest for program in PROGRAMS for action in actions(program)}
    assert not declared - read - {"dataset_name"}


def test_no_flag_parses_booleans_from_words():
    assert not re.search(r"type=bool", (ROOT / "modules" / "flags.py").read_text())
    assert parse_options("train", ["--no-mask_padding"]).mask_padding is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--colour", "red"], "unrecognized arguments: --colour red"),
        (["--batch_size", "0"], "--batch_size must be at least 1, got 0"),
        (["--gen_min_len", "200", "--gen_max_len", "10"], "--gen_min_len 200 counts the 19 prompt tokens"),
        (["--manifold", "sphere"], "invalid choice: 'sphere'"),
    ],
)
def test_contradictions_end_with_status_two_and_a_sentence(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_options("train", words)
    assert message in capsys.readouterr().err
