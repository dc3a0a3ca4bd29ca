"""Tiny random models in the formats that the metrics of others load: same classes, same files, no knowledge."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

WORDS = [
    "the",
    "heart",
    "is",
    "enlarged",
    "no",
    "effusion",
    "small",
    "left",
    "pleural",
    "lungs",
    "are",
    "clear",
    ".",
    ",",
]
SMALL = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


def wordpiece(folder, kind):
    folder.mkdir(parents=True, exist_ok=True)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    kind(vocab={word: i for i, word in enumerate(vocabulary)}, model_max_length=512).save_pretrained(folder)
    return len(vocabulary)


def byte_pairs(folder, template=None):
    """A byte-level tokenizer of GPT-2's and RoBERTa's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [" ".join(WORDS)] * 3, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>", model_max_length=512,
    )  # fmt: skip
    if template:
        fast.chat_template = template
    fast.save_pretrained(folder)
    return len(fast)


def write_models(folder: Path, srr_labels: int) -> Path:
    """Fill a folder for ``--metric_models``."""
    torch.manual_seed(0)
    auto = transformers
    size = wordpiece(folder / "distilbert-base-uncased", auto.DistilBertTokenizer)
    config = auto.DistilBertConfig(vocab_size=size, dim=32, n_heads=2, hidden_dim=64, n_layers=6)
    auto.DistilBertModel(config).save_pretrained(folder / "distilbert-base-uncased")
    size = byte_pairs(folder / "distilroberta-base")
    config = auto.RobertaConfig(
        vocab_size=size, num_hidden_layers=6, max_position_embeddings=514, pad_token_id=1, **SMALL
    )
    auto.RobertaModel(config).save_pretrained(folder / "distilroberta-base")
    size = wordpiece(folder / "microsoft" / "BiomedVLP-CXR-BERT-general", auto.BertTokenizer)
    config = auto.BertConfig(vocab_size=size, num_hidden_layers=1, num_labels=srr_labels, **SMALL)
    auto.BertForSequenceClassification(config).save_pretrained(
        folder / "StanfordAIMI" / "SRR-BERT-Leaves-with-Statuses"
    )
    for part in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        place = folder / "nltk_data" / "tokenizers" / "punkt_tab" / "english" / part
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
    _write_ratescore(folder)
    _write_crimson(folder / "rajpurkarlab" / "medgemma-4b-it-crimson")
    return folder


def _write_ratescore(folder: Path) -> None:
    kinds = ["ABNORMALITY", "NON-ABNORMALITY", "DISEASE", "NON-DISEASE", "ANATOMY"]
    labels = ["O", *(f"{place}-{kind}" for kind in kinds for place in "BI")]
    names = {i: label for i, label in enumerate(labels)}
    size = wordpiece(folder / "Angelakeke" / "RaTE-NER-Deberta", transformers.BertTokenizer)
    config = transformers.BertConfig(
        vocab_size=size, num_hidden_layers=1, id2label=names, label2id={label: i for i, label in names.items()}, **SMALL
    )
    transformers.BertForTokenClassification(config).save_pretrained(folder / "Angelakeke" / "RaTE-NER-Deberta")
    size = wordpiece(folder / "FremyCompany" / "BioLORD-2023-C", transformers.BertTokenizer)
    config = transformers.BertConfig(vocab_size=size, num_hidden_layers=1, **SMALL)
    transformers.BertModel(config).save_pretrained(folder / "FremyCompany" / "BioLORD-2023-C")


def _write_crimson(folder: Path) -> None:
    size = byte_pairs(folder, "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")
    config = transformers.GPT2Config(
        vocab_size=size, n_positions=16384, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=2
    )
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():  # every last state is ones, which the end of a text is likest to: it says nothing, at once
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1)
        model.transformer.wte.weight[2].fill_(1)
    model.save_pretrained(folder)
