"""The command lines: published spellings and defaults, ranges, contradictions, and one sentence for each mistake."""

import os
import resource
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from models.config import ModelOptions, RevtafConfig
from modules.evaluation.metrics.profiles import PROFILES
from modules.options import idle_flags
from modules.options.dataset_defaults import DATASET_DEFAULTS
from modules.options.parsing import build_parser, flags_of, flat, groups_of, model_config, parse_options
from modules.options.programs import PROGRAMS, MainPredict, MainPrepare, MainScore, MainTest, MainTrain
from tools import ablate, calibrate, check, convert, draw_example, draw_sheet, measure_labeler, write_published

ROOT = Path(__file__).parents[1]
ALL = (*PROGRAMS, ablate.Ablate, calibrate.Calibrate, check.Check, convert.Convert, draw_example.DrawExample, draw_sheet.DrawSheet, measure_labeler.MeasureLabeler,
       write_published.WritePublished)  # fmt: skip
PUBLISHED_SPELLING = """--c --h_dim --d_model --nhead --gen_max_len --gen_min_len --cls_weight --rank_weight --align_weight
    --clip_k --beam_size --load_pretrained --image_dir --ann_path --dataset_name --save_dir --init_lr --min_lr --warmup_lr
    --warmup_steps --weight_decay --seed --device --n_gpu"""
by_file = pytest.mark.parametrize("program", ALL, ids=lambda program: program.file)


def actions(program):
    return [action for action in build_parser(program)._actions if action.dest != "help"]


def refusal(capsys, program, *words):
    with pytest.raises(SystemExit, match="2"):
        parse_options(program, list(map(str, words)))
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert message.startswith(f"{program.file}: error: ")
    return message


def test_flags_keep_their_published_spelling():
    spelled = {flag for program in PROGRAMS for action in actions(program) for flag in action.option_strings}
    assert set(PUBLISHED_SPELLING.split()) <= spelled


def test_mimic_defaults_are_the_published_setting():
    options = flat(parse_options(MainTrain, ["--dataset_name", "mimic_cxr"]))
    published = {
        "batch_size": 18, "epochs": 6, "init_lr": 5e-5, "min_lr": 5e-6, "warmup_lr": 5e-7, "warmup_steps": 2000,
        "weight_decay": 0.05, "clip_grad_value": 0.1, "seed": 456789, "curvature": 0.01, "hyperbolic_dim": 512,
        "attention_dim": 1024, "num_heads": 8, "cls_weight": 4.0, "align_weight": 0.5, "rank_weight": 2.0, "beam_size": 3,
        "gen_min_len": 100, "gen_max_len": 150, "max_words": 100, "image_size": 224, "visual_extractor": "resnet101",
        "decoder_layers": 12, "hidden_size": 768, "label_smoothing": 0.1, "ot_epsilon": 0.05, "ot_iterations": 100,
        "dropout": 0.1, "memory_layers": 2, "memory_feedforward": 2048, "hyperbolic_layers": 2, "decoder_heads": 12,
        "intermediate_size": 3072, "max_positions": 512,
    }  # fmt: skip
    assert {name: options[name] for name in published} == published
    generation = parse_options(MainTest, ["--dataset_name", "iu_xray"]).generation
    assert (generation.gen_min_len, generation.gen_max_len) == (60, 110)


def test_the_table_of_data_sets_names_flags_and_places_follow_the_data_set():
    known = {a_field.name for program in PROGRAMS for kind in groups_of(program).values() for a_field in flags_of(kind)}
    assert {name for changes in DATASET_DEFAULTS.values() for name in changes} <= known
    options = parse_options(MainTrain, ["--dataset_name", "iu_xray", "--feature_dir", "f"])
    assert (options.data.ann_path, options.run.save_dir) == ("data/iu_xray/annotation.json", "results/iu_xray")
    assert options.data.bank_dir == "f"
    assert parse_options(MainScore, ["--predictions", "a", "b"]).scoring.predictions == ("a", "b")


@pytest.mark.parametrize("name", DATASET_DEFAULTS)
def test_the_defaults_of_every_data_set_make_a_model(name):
    options = parse_options(MainTrain, ["--dataset_name", name])
    width = parse_options(MainPrepare, ["--dataset_name", name]).preparation.text_width
    config = model_config(
        options.model, report_feature_dim=width, entity_text_dim=768, vocab_size=100, pad_id=0, end_id=2
    )  # fmt: skip
    assert config.prompt_length == 19
    assert {a_field.name for a_field in fields(ModelOptions)} < {a_field.name for a_field in fields(RevtafConfig)}


@by_file
def test_help_begins_with_two_examples_and_shows_every_flag_and_default_once(program, capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_options(program, ["--help"])
    text = capsys.readouterr().out
    assert text.startswith("\n".join(program.examples))
    for action in actions(program):
        assert action.help, action.option_strings
        assert action.option_strings[0] in text
        assert action.help.count("(default: ") <= 1, action.help
    for example in program.examples:
        words = shlex.split(example.split(" > ")[0])
        assert words[:2] == ["python", program.file]
        parse_options(program, words[2:])


def test_a_bug_in_the_options_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(MainTest, "__post_init__", lambda self: int("a bug of ours"))
    with pytest.raises(ValueError, match="a bug of ours"):
        parse_options(MainTest, [])


def test_a_flag_may_be_given_where_its_value_is_the_default_or_it_is_read():
    for words in (
        "--rank_weight 2",
        "--align_iou binary --align_pairs all",
        "--align_iou binary --init_from model.pth",
        "--retrieval none --reference_memory 0",
        "--attention softmax --ot_epsilon 0.1",
        "--global_batch 36 --batch_size 18",
    ):
        assert parse_options(MainTrain, words.split()).given == {word[2:] for word in words.split() if word[:2] == "--"}
    published = (
        "--dataset_name mimic_cxr --beam_size 3 --gen_min_len 100 --gen_max_len 150"  # as test_mimic_cxr.sh says it
    )
    assert parse_options(MainTest, [*published.split(), "--rescore"]).testing.rescore


def test_a_switch_is_turned_off_by_no():
    assert parse_options(MainTrain, ["--no-mask_padding"]).model.mask_padding is False
    options = parse_options(MainTrain, ["--augment"])
    assert options.training.augment is True
    assert options.given == {"augment"}


@pytest.mark.parametrize(
    ("program", "words", "message"),
    [
        (MainTrain, "--retreival none", "there is no flag --retreival: did you mean --retrieval?"),
        (MainTrain, "--batch 3", "there is no flag --batch: did you mean --batch_size?"),
        (MainTrain, "--colour red", "there is no flag --colour"),
        (MainTrain, "synth_cxr", "'synth_cxr' belongs to no flag"),
        (MainTrain, "--manifold sphere", "invalid choice: 'sphere'"),
        (MainTrain, "--gen_min_len 200 --gen_max_len 10", "--gen_min_len 200 counts the 19 prompt tokens"),
        (MainTrain, "--gen_max_len 600", "--max_positions is 512"),
        (MainTrain, "--min_lr 1e-3", "--min_lr 0.001 exceeds --init_lr"),
        (MainTrain, "--warmup_lr 1e-3", "--warmup_lr 0.001 exceeds --init_lr"),
        (MainTrain, "--hidden_size 30 --decoder_heads 4", "--decoder_heads 4 must divide --hidden_size 30"),
        (MainTrain, "--init_from a --resnet_weights b", "--init_from sets every weight"),
        (MainTrain, "--align_iou binary", "--align_iou binary would change nothing with --align_pairs mentions"),
        (MainTrain, "--rank_weight 1", "--rank_weight 1.0 would change nothing with --enhancer towers"),
        (
            MainTrain,
            "--align_weight 0 --align_pairs all",
            "--align_pairs all would change nothing with --align_weight 0.0",
        ),
        (
            MainTrain,
            "--enhancer scores --rank_weight 0 --rank_loss listwise",
            "--rank_loss listwise would change nothing with",
        ),
        (MainTrain, "--enhancer scores --rank_weight 0 --learn_c", "--learn_c would change nothing with --rank_weight"),
        (MainTest, "--verbose_text --show 0", "--verbose_text prints reports and --show 0 none of them"),
        (MainPredict, "--images a --verbose_text --show 0", "--verbose_text prints reports and --show 0 none of them"),
        (
            MainTrain,
            "--enhancer scores --rank_temperature 1",
            "with --rank_loss nearest: it is read with --rank_loss listwise",
        ),
        (MainTrain, "--c 1 --manifold euclidean", "--c 1.0 would change nothing with --manifold euclidean"),
        (MainTrain, "--ot_plan single --attention none", "--ot_plan single would change nothing with --attention none"),
        (MainTrain, "--image 96", "there is no flag --image: did you mean --image_dir or --image_size?"),
        (MainTrain, "--model m.pth", "there is no flag --model here: it is one of main_predict.py"),
        (MainTrain, "--val_share 0.1", "there is no flag --val_share here: it is one of main_prepare.py"),
        (MainTest, "--reference f", "there is no flag --reference here: see --help"),
        (MainTrain, "--threshold 3", "--threshold 3 would change nothing with --tokenizer bert"),
        (MainTest, "--plot 3 --plot_ids a", "--plot draws the first studies and --plot_ids others"),
        (MainTrain, "--hyperbolic_layers 3", "--hyperbolic_layers 3 would change nothing with --enhancer towers"),
        (MainTrain, "--presence_weight 1 --entity_keys text", "1.0 would change nothing with --entity_keys text"),
        (MainTrain, "--ot_plan single --ot_epsilon 0.1", "--ot_epsilon 0.1 would change nothing with --ot_plan single"),
        (
            MainTrain,
            "--retrieval none --train_retrieval label",
            "with --retrieval none: it is read with --retrieval learned, states, cosine, random or label",
        ),
        (MainTrain, "--retrieval none --drop_references 0.2", "--drop_references 0.2 would change nothing with"),
        (MainTrain, "--retrieval none --reference_memory 9", "--reference_memory 9 would change nothing with"),
        (MainTrain, "--retrieval none --references 2", "--references 2 would change nothing with --retrieval none"),
        (MainTrain, "--retrieval none --oracle_epochs 1", "--oracle_epochs 1 would change nothing with"),
        (
            MainTrain,
            "--retrieval none --align_weight 2",
            "--align_weight 2.0 would change nothing with --retrieval none",
        ),
        (MainTrain, "--retrieval none --align_pairs stored", "--align_pairs stored would change nothing with"),
        (
            MainTrain,
            "--retrieval none --no-exclude_same_patient",
            "--no-exclude_same_patient would change nothing with",
        ),
        (MainTrain, "--train_retrieval label --oracle_epochs 1", "it is read with --train_retrieval own"),
        (MainTrain, "--freeze_bn --sync_bn", "--sync_bn would change nothing with --freeze_bn: give one of them"),
        (MainTrain, "--beam_size 1 --rerank maps", "--rerank maps chooses among beams and --beam_size is 1"),
        (MainTest, "--beam_size 1 --rerank states", "--rerank states chooses among beams and --beam_size is 1"),
        (MainTrain, "--global_batch 36 --batch_size 9", "nothing with --global_batch 36: give one of them"),
        (MainTrain, "--init_visual entity_scorer --resnet_weights a", "nothing with --resnet_weights a: give one"),
        (MainTrain, "--init_visual entity_scorer --visual_extractor hf:a", "nothing with --visual_extractor hf:a"),
        (MainTrain, "--init_from a --tokenizer corpus", "--tokenizer corpus would change nothing with --init_from a"),
        (MainTrain, "--no-fast_cpu --device cuda", "--no-fast_cpu would change nothing with --device cuda"),
        (MainTest, "--no-viewer --viewer_studies 3", "--viewer_studies 3 would change nothing without --viewer"),
        (MainTest, "--show 3", "--show 3 would change nothing without --verbose_text: give both, or leave it out"),
        (MainTest, "--rescore --beam_size 9", "--beam_size 9 would change nothing with --rescore: give one of them"),
        (MainTest, "--rescore --rerank states", "--rerank states would change nothing with --rescore"),
        (MainTest, "--image_size 64", "there is no flag --image_size"),
        (MainScore, "--predictions a --n_gpu 2", "there is no flag --n_gpu"),
        (MainScore, "--predictions a --feature_dir f --train_ann g", "both name training reports"),
        (MainScore, "--predictions a --metric_models d", "would change nothing without --extra_metrics: give both"),
        (MainScore, "--predictions a --profile rexrank --max_words 9", "it is read with --profile r2gen"),
        (MainScore, "--predictions a --profile rexrank --cleaning none", "it is read with --profile r2gen"),
        (MainScore, "--predictions a --baseline a", "and --predictions names one alone"),
        (
            MainPredict,
            "--input_json_file a.json --save_json_file ./a.json",
            "is --input_json_file itself, which it would replace",
        ),
        (MainPredict, "--images a --img_root_dir b", "--img_root_dir b would change nothing without --input_json_file"),
        (MainPredict, "--export a --plot 2", "--plot 2 would change nothing with --export a: give one of them"),
        (MainPredict, "--scores a --text", "--text would change nothing with --scores a: give one of them"),
        (MainPredict, "--scores a --export b", "--export and --scores are different tasks: give one of them"),
        *((MainTrain, f"--{n}_weight 1e30", "must be at most 10000") for n in ("cls", "align", "presence", "rank")),
        (MainTrain, "--enhancer scores --rank_loss listwise --rank_temperature 1e-30", "must be at least 0.001"),
        (
            MainTrain,
            "--reference_memory 0 --references 2",
            "--references 2 would change nothing with --reference_memory 0",
        ),
        (MainTrain, "--scst 1", "--scst 1 has no other report of the study to be compared with: give 2 or more"),
        (MainTrain, "--scst_weight 2", "--scst_weight 2.0 would change nothing with --scst 0: leave one of them out"),
        (MainTrain, "--scst_rarity 1", "--scst_rarity 1.0 would change nothing with --scst 0: leave one of them out"),
        (MainTrain, "--scst_epochs 1", "--scst_epochs 1 would change nothing with --scst 0: leave one of them out"),
        (MainTrain, "--scst 3 --scst_weight 0", "--scst 3 would change nothing with --scst_weight 0.0"),
        (MainPredict, "--serve --overwrite", "--overwrite would change nothing with --serve: give one of them"),
        (MainPredict, "--export a --overwrite", "--overwrite would change nothing with --export a: give one of them"),
        (MainPredict, "--serve --text", "--text would change nothing with --serve: give one of them"),
        (MainTrain, "--tokenizer corpus --bert_path d", "--bert_path d would change nothing: there is no CheXbert"),
        (MainTrain, "--dataset_name synth_cxr --bert_path d", "and --tokenizer bert reads its words and weights"),
        (MainScore, "--predictions a --bert_path d", "and main_score.py reads nothing else of it"),
        (MainScore, "--predictions a --chexbert_path f.pth", "f.pth is no file: give chexbert.pth, or none"),
        (MainScore, "--predictions a --bank_dir f", "there is no flag --bank_dir here: it is one of main_prepare.py"),
        (MainScore, "--predictions a --published f", "there is no flag --published here: it is one of main_prepare.py"),
        (MainPrepare, "--bank_dir f --text_width 9", "--text_width 9 would change nothing with --bank_dir f"),
        (
            MainPrepare,
            "--bank_dir f --visual_extractor resnet18",
            "nothing with --bank_dir f: the scorer and the texts of that",
        ),
        (MainPrepare, "--published f --scorer_epochs 9", "--scorer_epochs 9 would change nothing with --published f"),
        (MainPrepare, "--published f --text_encoder d", "--text_encoder d would change nothing with --published f"),
        (MainPrepare, "--description_tokens 9", "it is read with --entity_scorer medklip"),
        (MainPrepare, "--entity_scorer medklip --scorer_epochs 9", "it is read with --entity_scorer own"),
        (MainPrepare, "--text_encoder d --text_width 9", "it is read with --text_encoder lsa"),
        (MainPrepare, "--raw_dir d --copy_format png", "--copy_format png would change nothing with --resize 0"),
        (MainPrepare, "--raw_dir d --dataset_name custom --xxxx word", "it is read with --dataset_name iu_xray"),
        (MainPrepare, "--raw_dir d --dataset_name custom --no-unnamed", "it is read with --dataset_name mimic_cxr"),
        (MainScore, "", "give the reports to score: --predictions"),
        (MainPrepare, "--save_dir x", "there is no flag --save_dir"),
        (MainPrepare, "--section both", "--section reads raw files: give their folder with --raw_dir"),
        (MainPrepare, "--num_studies 9", "--num_studies draws SynthCXR: give --dataset_name synth_cxr"),
        (MainPrepare, "--check", "--check is a program of its own now: python tools/check.py"),
        (MainPrepare, "--convert m.pth", "python tools/convert.py --model FILE"),
        (MainPrepare, "--no-strict", "--no-strict is a program of its own now: python tools/check.py"),
        (
            MainPrepare,
            "--write-published=d",
            "--write-published is a program of its own now: python tools/write_published",
        ),
        (MainPrepare, "--write_published=d", "python tools/write_published.py --out FOLDER"),
        (MainPrepare, "--measure_labeler f", "python tools/measure_labeler.py --reports FILE"),
        (MainPrepare, "--contact_sheet f", "python tools/draw_sheet.py --out FILE"),
        (convert.Convert, "", "give the trained model to convert"),
        (measure_labeler.MeasureLabeler, "", "give the labelled reports"),
    ],
)
def test_mistakes_end_with_status_two_and_a_sentence(program, words, message, capsys):
    assert message in refusal(capsys, program, *words.split())


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.file)
def test_help_and_a_mistyped_flag_are_answered_within_a_second_and_without_torch(program, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for word, status in (("--help", 0), ("--dataset_nane", 2)):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, program.file, word], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == status, done.stderr
        assert program.examples[0] in done.stdout or "there is no flag --dataset_nane" in done.stderr
        assert (
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
        )  # of a processor, not of the clock


def test_another_python_is_told_to_enter_the_environment():
    """A Python without any package, as people start one by mistake."""
    for program, file in (("main_train.py", "requirements.txt"), ("main_score.py", "requirements/score.txt")):
        done = subprocess.run(
            [sys.executable, "-S", "-I", "-c", f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv = [{program!r}]; "
             f"runpy.run_path({str(ROOT / program)!r}, run_name='__main__')"], capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2
        assert "enter the environment first" in done.stderr
        assert done.stderr.rstrip().endswith(file)
        assert len(done.stderr.splitlines()) == 1


def test_every_row_of_idle_flags_names_flags_of_its_program_and_the_cleaned_profiles():
    for rows, program in (
        (idle_flags.OF_A_TRAINING + idle_flags.OF_ANY_TRAINING, MainTrain),
        (idle_flags.OF_A_TEST, MainTest),
        (idle_flags.OF_A_PREPARATION + idle_flags.WITH_A_BANK_OF_OTHERS + idle_flags.FROM_PUBLISHED, MainPrepare),
        (idle_flags.OF_A_SCORING, MainScore),
        (idle_flags.OF_A_PREDICTION, MainPredict),
    ):
        known = {a_field.name: a_field for kind in groups_of(program).values() for a_field in flags_of(kind)}
        for row in rows:
            assert {*row.names, row.other} <= known.keys()
            choices = known[row.other].metadata["choices"]
            assert isinstance(row.values, bool) or not choices or set(row.values) <= set(choices)
    assert tuple(name for name, profile in PROFILES.items() if profile.text == "cleaned") == idle_flags.CLEANED
