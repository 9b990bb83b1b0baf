"""What a hub offers and cannot serve here is refused in words before any weight is fetched; tokens stay secret."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tests.hub
from engine import hub as hubs
from engine.download import Hub, HubError
from engine.hub_id import HubId, parse
from tests.far import ID, TOKEN, busy, fetch, gated, private, problems, rewrite, weights_were_asked_for
from tests.hub import StandIn


def _pickles(served: StandIn) -> None:
    (served.models[ID] / "model.safetensors").unlink()


def _own_code(served: StandIn) -> None:
    code = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    rewrite(served.models[ID] / "config.json", model_type="evil", auto_map=code)


def _foreign_code(served: StandIn) -> None:
    rewrite(served.models[ID] / "config.json", _attn_implementation_internal="evil/kernel")


def _tokenizer_code(served: StandIn) -> None:
    rewrite(served.models[ID] / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_evil.Evil", None]})


def _no_tokenizer(served: StandIn) -> None:
    (served.models[ID] / "tokenizer.json").unlink()


def _pictures(served: StandIn) -> None:
    rewrite(served.models[ID] / "config.json", model_type="vit")


def _unknown(served: StandIn) -> None:
    rewrite(served.models[ID] / "config.json", model_type="brandnew")


def _adapter(served: StandIn) -> None:
    (served.models[ID] / "config.json").rename(served.models[ID] / "adapter_config.json")


def _gguf(served: StandIn) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (served.models[ID] / name).unlink()
    (served.models[ID] / "tiny.Q4_0.gguf").write_bytes(b"GGUF")


REFUSALS: list[tuple[Callable[[StandIn], None], str]] = [
    (gated, "org/tiny is gated. Accept its terms at http://127.0.0.1"),
    (private, "has no model org/tiny, or a private one. Check the spelling."),
    (busy, "has trouble of its own (HTTP 503). Retry later."),
    (_pickles, "only in pytorch_model.bin, a format that can run code"),
    (_own_code, "needs its own Python code to run (auto_map in config.json)"),
    (_foreign_code, "asks for foreign code (_attn_implementation_internal in config.json), which is never run"),
    (_tokenizer_code, "The tokenizer of org/tiny needs its own Python code"),
    (_no_tokenizer, "org/tiny has no tokenizer"),
    (_pictures, "is of type vit, which is no text model"),
    (_unknown, "is of type brandnew, which is no text model that transformers can train"),
    (_adapter, "org/tiny is an adapter, not a base model"),
    (_gguf, "org/tiny holds GGUF files. Download one of them"),
]


@pytest.mark.parametrize(("change", "told"), REFUSALS)
def test_what_cannot_serve_is_refused_in_words_before_any_weight_is_fetched(
    served: StandIn, into: Path, change: Callable[[StandIn], None], told: str
) -> None:
    change(served)
    assert told in " ".join(problems(into))
    assert not weights_were_asked_for(served)


def test_all_that_is_wrong_is_told_at_once(served: StandIn, into: Path) -> None:
    for change in (_pickles, _own_code, _tokenizer_code, _no_tokenizer):
        change(served)
    assert len(problems(into)) == 4


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_small_file_that_is_said_to_be_huge_is_not_fetched(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    listed = tests.hub._listed
    monkeypatch.setattr(
        tests.hub, "_listed", lambda file: listed(file) | ({"size": 300_000_000} if file.name == name else {})
    )
    (told,) = problems(into)
    assert told == f"{name} of {ID} has 300 MB, and at most 200 MB are believed of such a file. Nothing was fetched."
    assert served.files_asked_for() == []
    with Hub() as connection:
        listing = hubs.look_up(connection, HubId(ID))
        if name == "config.json":
            with pytest.raises(HubError, match="has 300 MB"):
                hubs.fetch_config(connection, listing, into)
    assert served.files_asked_for() == []


def test_weights_without_a_hash_are_refused_before_they_are_fetched(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tests.hub._listed
    monkeypatch.setattr(
        tests.hub, "_listed", lambda file: {k: v for k, v in listed(file).items() if k not in ("lfs", "blobId")}
    )
    (told,) = problems(into)
    assert told == f"The hub lists no hash of model.safetensors of {ID}, so nobody could tell if it arrived whole."
    assert not weights_were_asked_for(served)


def test_a_disk_that_is_too_small_is_named_before_any_weight_is_fetched(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "SPARE_BYTES", 10**18)
    (told,) = problems(into)
    assert "GB free, and this model wants 1000000000.0 GB" in told
    assert not weights_were_asked_for(served)


def test_a_hub_that_changes_its_mind_in_the_middle_is_understood_too(served: StandIn, into: Path) -> None:
    def gate(stage: str, done: int, total: int) -> None:
        served.faults.gated = stage == "Downloading"

    with Hub() as connection:
        listing = hubs.look_up(connection, HubId(ID))
        with pytest.raises(HubError, match="org/tiny is gated"):
            hubs.fetch(connection, listing, into, lambda _: [], gate)


def test_a_missing_model_or_revision_is_said_to_be_missing(served: StandIn, into: Path) -> None:
    assert "has no model org/nobody" in problems(into, "org/nobody")[0]
    assert "org/tiny has no revision v9" in problems(into, revision="v9")[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("org/name", HubId("org/name", "main")),
        ("  org/name@v1.0 ", HubId("org/name", "v1.0")),
        ("Qwen/Qwen2.5-0.5B@refs/pr/1", HubId("Qwen/Qwen2.5-0.5B", "refs/pr/1")),
        ("name", None),
        ("../x", None),
        ("org/../x", None),
        ("/etc/passwd", None),
        ("https://huggingface.co/org/name", None),
        ("http://127.0.0.1/x", None),
        ("user@host/x", None),
        ("org/name?x=1", None),
        ("org\\name", None),
        ("org/name/more", None),
        ("-o/name", None),
        ("org/name@../../x", None),
        ("órg/name", None),
        ("org/name\n", HubId("org/name", "main")),
        ("org/na\nme", None),
    ],
)
def test_only_a_name_passes_for_a_name(text: str, wanted: HubId | None) -> None:
    assert parse(text) == wanted


# --- the token ----------------------------------------------------------------------------------------------------


def test_the_token_goes_to_the_hub_alone(served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(into)
    for asked in served.asked:
        sent = asked.headers.get("authorization")
        assert sent == (None if "/stored/" in asked.path else f"Bearer {TOKEN}")


def _refuses_tokens(served: StandIn) -> None:
    served.faults.refuses_tokens = True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (gated, "is gated, and HF_TOKEN does not open it. Accept its terms"),
        (private, "has no model org/tiny, or HF_TOKEN may not see it"),
        (_refuses_tokens, "does not accept HF_TOKEN for org/tiny (HTTP 401)"),
    ],
)
def test_a_token_that_does_not_help_is_said_not_to(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[StandIn], None], told: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    change(served)
    assert told in problems(into)[0]


def test_what_is_no_token_is_refused_without_repeating_it(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret\r\nHost: evil")
    (told,) = problems(into)
    assert "HF_TOKEN holds something that is no access token" in told
    assert "secret" not in told
