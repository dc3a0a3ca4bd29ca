"""Wrong command lines: refused by the parser, before anything is imported, read or written."""

import pytest
from harness import assert_bounded, end_of, sentence_of

import main_prepare
import main_score
import main_test
import main_train

FLAGS = {
    main_train: (
        "--batch_size 0", "--batch_size -1", "--batch_size x", "--batch_size 1.5", "--epochs 0", "--epochs nan", "--init_lr nan",
        "--init_lr x", "--init_lr -1", "--min_lr nan", "--weight_decay nan", "--weight_decay -1", "--dropout nan", "--dropout 2",
        "--dropout -0.1", "--c nan", "--c 0", "--c -1", "--ot_epsilon nan", "--ot_epsilon 0", "--ot_iterations 0",
        "--label_smoothing nan", "--label_smoothing 2", "--cls_weight nan", "--align_weight nan", "--rank_weight nan",
        "--clip_grad_value nan", "--image_size 33", "--image_size 0", "--image_size -32", "--beam_size 0", "--gen_max_len 0",
        "--val_every 0", "--save_every 0", "--hidden_size 0", "--hidden_size -1", "--decoder_heads 0", "--decoder_layers -1",
        "--memory_layers -1", "--nhead 0", "--manifold sphere", "--retrieval guess", "--precision fp8", "--device tpu",
        "--dataset_name chexpert", "--monitor_metric", "--hello", "--epoch_s 3", "--resume maybe", "--n_gpu -1",
        "--num_workers -1", "--seed x", "--seed -1", "--max_words -1", "--init_lr inf", "--c inf", "--batch_size=--", "--c=--",
        f"--epochs {'9' * 400}", f"--warmup_steps {'9' * 400}", f"--max_words {'9' * 30}", "--c 1e400", "--c 1e-400", "--cls_weight 1e-400", "--init_lr 1e-400", "--drop_references 1e-400", "--weight_decay 0.00001e-400", "--warmup_lr=-1e-400", "--timeout 1e999", "--c=-nan",
        "--cls_weight 1e400", "--cls_weight=-inf", "--timeout inf", "--timeout 0", "--drop_references nan", "--epochs=", "--c 0x10", "--c 1,5",
    ),
    main_prepare: (
        "--num_studies 0", "--num_studies x", "--difficulty nan", "--difficulty -1", "--difficulty 9", "--synth_image_size 0",
        "--resize -1", "--neighbours 0", "--clip_k 0", "--scorer_epochs 0", "--scorer_lr nan", "--text_width 0",
        "--resize=--", f"--scorer_epochs {'9' * 400}", "--scorer_lr 1e-400", "--val_share nan", "--val_share 1e-400", "--test_share 1e400", "--section all", "--items page", "--copy_format gif", "--feature_dtype int8", "--scorer_patience -1", "--what",
    ),
    main_test: (
        "--split dev", "--beam_size 0", "--gen_max_len 0", "--plot -1", "--viewer_studies 0", "--resamples 0", "--show -1",
        "--batch_size 0", "--load", "--model x", f"--plot {'9' * 400}", f"--show {'9' * 400}", "--plot=--", "--resamples inf",
    ),
    main_score: (
        "", "--predictions", "--predictions a.csv --split dev", "--predictions a.csv --resamples 0", "--predictions a.csv --max_words -1",
        "--predictions a.csv --resamples=--", f"--predictions a.csv --max_words {'9' * 400}", "--predictions a.csv --cleaning strong", "--predictions a.csv --extra_metrics rouge", "--predictions a.csv --hello",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "words"), [(program, words) for program, lines in FLAGS.items() for words in lines]
)
def test_a_wrong_command_line_is_refused(program, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ending = end_of(program, *words.split())
    assert ending.status == 2, ending.err
    assert len(sentence_of(ending)) > 20
    assert "invalid" not in sentence_of(ending) or "invalid choice" in sentence_of(ending)
    assert_bounded(ending, tmp_path)
    assert [*tmp_path.iterdir()] == []
