"""GGUF files, written by llama.cpp's own writer, become base models with the same numbers, or are refused in words."""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers

from adapters_store.store import Store
from engine import gguf_file, models
from engine.gguf_file import GgufError
from jobs.ending import Ending
from jobs.worker import do
from tests.tiny_gguf import write_tiny_gguf
from tests.workshop import shared_tiny_model, wait_for_state

Kind = gguf.GGMLQuantizationType


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def logits(folder: Path) -> torch.Tensor:
    base = models.load(folder, models.Device("cpu", "CPU", torch.float32, "a test"))
    ids = base.tokenizer("Question 1: what is rain?", return_tensors="pt").input_ids
    with torch.inference_mode():
        found: torch.Tensor = base.model(ids).logits
    return found


def test_a_file_in_fp32_becomes_the_very_model_it_was_written_from(tmp_path: Path, into: Path) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    gguf_file.convert(file, into, lambda *_: None)
    models.check_folder(into)
    assert torch.equal(logits(into), logits(shared_tiny_model()))
    theirs, ours = models.load_tokenizer(shared_tiny_model()), models.load_tokenizer(into)
    messages = [{"role": "user", "content": "What is the moon?"}]
    assert ours.apply_chat_template(messages, tokenize=False) == theirs.apply_chat_template(messages, tokenize=False)
    facts = models.describe(into)
    assert facts["parameters"] == models.describe(shared_tiny_model())["parameters"]


def test_a_quantised_file_becomes_its_dequantised_numbers(tmp_path: Path, into: Path) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model(), quantised=Kind.Q8_0)
    gguf_file.convert(file, into, lambda *_: None)
    model = models.load(into).model
    stored = next(t for t in gguf.GGUFReader(file).tensors if t.name == "blk.0.ffn_up.weight")
    expected = gguf.dequantize(stored.data, stored.tensor_type)
    assert np.array_equal(model.get_submodule("model.layers.0.mlp.up_proj").weight.numpy(), expected)
    assert model.config.tie_word_embeddings


def test_the_head_of_a_file_is_read_once_and_the_reader_is_left_as_it_was(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Counted(gguf.GGUFReader):  # type: ignore[misc]
        def __init__(self, path: str) -> None:
            read.append(path)
            super().__init__(path)

    monkeypatch.setattr(gguf, "GGUFReader", Counted)
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    gguf_file.convert(file, into, lambda *_: None)
    assert read == [str(file)]
    assert gguf.GGUFReader is Counted


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2000])


def _text(file: Path) -> None:
    file.write_text("GGUF and then nothing of the sort")


def _none(file: Path) -> None:
    file.write_text("no such file")


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (_cut, "cut short, damaged or of a newer kind"),
    (_text, "cannot be read"),
    (_none, "is no GGUF file"),
    (Path.unlink, "is no GGUF file"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_a_damaged_file_is_refused_in_words(
    tmp_path: Path, into: Path, damage: Callable[[Path], None], told: str
) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    damage(file)
    with pytest.raises(GgufError, match=told):
        gguf_file.convert(file, into, lambda *_: None)
    assert list(into.iterdir()) == []


def test_all_that_keeps_a_file_from_becoming_a_model_is_told_at_once(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = {"architecture": "brandnew", "quantised": Kind.Q8_0, "tokenizer": False, "parts": 3}
    file = write_tiny_gguf(tmp_path / "odd.gguf", shared_tiny_model(), **odd)
    monkeypatch.delitem(gguf.quants._type_traits, Kind.Q8_0)  # as a kind that the library does not know yet
    with pytest.raises(GgufError) as refused:
        gguf_file.convert(file, into, lambda *_: None)
    parts, tokenizer, numbers, architecture = refused.value.problems
    assert "odd.gguf is one of 3 parts. Merge them first" in parts
    assert "odd.gguf has no tokenizer" in tokenizer
    assert "is quantised as Q8_0, which cannot be read here. Take a version in Q4_0" in numbers
    assert "architecture brandnew is not supported yet" in architecture


def test_a_file_beside_an_adapter_is_refused_in_words_as_transformers_would_load_that_too(
    tmp_path: Path, into: Path
) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    with pytest.raises(GgufError, match=r"with an adapter beside it\. Move adapter_config\.json out"):
        gguf_file.convert(file, into, lambda *_: None)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("fault", [OSError, RuntimeError, NotImplementedError, ImportError, AttributeError])
@pytest.mark.parametrize("where", ["AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"])
def test_whatever_transformers_raises_at_a_file_is_told_in_words(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, where: str, fault: type[Exception]
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise fault("a part it does not know\nand more")

    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    monkeypatch.setattr(getattr(transformers, where), "from_pretrained", failing)
    with pytest.raises(GgufError, match="a part it does not know"):
        gguf_file.convert(file, into, lambda *_: None)


def test_a_disk_that_is_too_small_is_named_first(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    monkeypatch.setattr(gguf_file, "SPARE_BYTES", 10**18)
    with pytest.raises(GgufError, match=r"Converted it takes 1000000000\.0 GB"):
        gguf_file.convert(file, into, lambda *_: None)


def test_the_job_publishes_the_converted_model(tmp_path: Path, store: Store) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    job = store.submit("fetch", "tiny", {"source": "gguf", "path": str(file), "name": "tiny"})
    do(store, job.id, Ending())
    wait_for_state(store, job.id, "completed")
    (base,) = store.base_models()
    assert (base.name, base.source, base.path) == ("tiny", "gguf", None)
    assert store.files.problems("models", base.folder or "") == []
    assert file.is_file(), "the file stays where it is"
