"""The columns of a comparison: what stands in them before, during and after the answers."""

from studio import answer_grid
from studio.answer_grid import Pace
from studio.asked import Own, Question, Turn, with_samples
from studio.contestants import Contestant
from tests.test_library_view import adapter

SAMPLING = {"seed": 7, "temperature": 0.7, "top_p": 0.95, "max_tokens": 50}


def people() -> list[Contestant]:
    one = adapter()
    one.base_model.fingerprint = "sha256:7e27bd9a"
    return [Contestant(one.base_model, None), Contestant(one.base_model, one)]


def asked() -> Question:
    return Question(people(), "What is rain?", SAMPLING)


ON_A_CPU = {"batches": [[0, 1]], "device": "cpu", "dtype": "float32", "threads": 2}


def snapshot(seconds: float, tokens: list[int], finished: list[bool], **how: object) -> dict[str, object]:
    said = {"seconds": seconds, "tokens": tokens, "finished": finished, "texts": ["Mount Everest", "Arr"]}
    return {**said, **ON_A_CPU, **how}


def test_each_column_names_its_contestant_and_how_it_was_asked() -> None:
    grid = answer_grid.answering(asked(), snapshot(2.0, [4, 6], [False, False]), [2.0, 3.0])
    base, trained = grid["columns"]
    assert (base["name"], base["what"]) == ("base", "Base model SmolLM2, 7e27bd9")
    assert (trained["name"], trained["fact"]) == ("pirate-r16", "r 16")
    assert trained["what"].startswith("Adapter 9f3c1a0")
    assert trained["how"] == "Seed 7, temperature 0.7, 3.0 tokens/s"


def test_the_proof_line_tells_what_a_replay_needs_where_an_answer_depends_on_its_batch() -> None:
    def how(**given: object) -> list[str]:
        told = snapshot(2.0, [4, 6], [False, False], **given)
        columns = answer_grid.answering(asked(), told, [2.0, 3.0])["columns"]
        return [column["how"].partition(" tokens/s")[2] for column in columns]

    assert how() == ["", ""]
    assert how(batches=[[0], [1]]) == [", in a pass of its own"] * 2
    assert how(device="cuda", dtype="bfloat16") == [
        ", bfloat16 on cuda, in one batch with column 2",
        ", bfloat16 on cuda, in one batch with column 1",
    ]
    assert how(device="cuda", dtype="bfloat16", batches=[[1], [0]])[0] == ", bfloat16 on cuda, in a pass of its own"


def test_the_proof_line_names_the_method_and_no_rank_where_there_is_none() -> None:
    base = people()[0].base
    prompt = adapter(method="Soft prompt", settings={"prompt_tokens": 20, "base_precision": "nf4"})
    column = answer_grid.waiting(Question([Contestant(base, prompt)], "Rain?", SAMPLING), "")["columns"][0]
    assert (column["fact"], column["what"]) == ("Soft prompt", "Adapter 9f3c1a0, Soft prompt, 20 tokens, on NF4")


def test_the_pace_of_a_complete_answer_stands_still() -> None:
    pace = Pace(2)
    assert pace.after(snapshot(1.0, [10, 10], [True, False])) == [10.0, 10.0]
    assert pace.after(snapshot(2.0, [10, 30], [True, False])) == [10.0, 15.0]


def test_the_end_says_how_many_are_ready_and_which_were_cut() -> None:
    assert answer_grid.ready(2, ["base"], 50) == "2 answers ready. Cut at 50 tokens: base."
    assert answer_grid.ready(1, [], 50) == "1 answer ready."


def test_what_breaks_off_is_kept_and_nothing_from_outside_is_believed() -> None:
    waiting = answer_grid.waiting(asked(), "")
    ended = answer_grid.ended(waiting, "Stopped.")
    assert (ended["state"], ended["status"], len(ended["columns"])) == ("ended", "Stopped.", 2)
    assert answer_grid.ended("nonsense from outside", "Stopped.")["columns"] == []


def test_what_was_stopped_belongs_to_the_same_question() -> None:
    grid = answer_grid.of_round({"state": "streaming", "columns": [{"key": "base"}], "status": ""}, 17)
    stopped = answer_grid.ended(grid, "Stopped.")
    assert (stopped["state"], stopped["status"], stopped["round"]) == ("ended", "Stopped.", 17)
    assert "round" not in answer_grid.ended({"columns": [], "round": "x"}, "Stopped.")


def test_a_column_tells_what_it_was_asked_otherwise_and_what_narrowed_its_draws() -> None:
    question = Question(
        people(),
        "And snow?",
        {**SAMPLING, "top_k": 5, "min_p": 0.0, "repetition_penalty": 1.0, "stop": ["\n"]},
        own=[Own(), Own("Be short.", {"temperature": 0.2})],
        turns=[[Turn("What is rain?", "Water.")], [Turn("What is rain?", "Arr.")]],
    )
    base, trained = answer_grid.waiting(question, "")["columns"]
    assert (base["name"], trained["name"]) == ("base", "pirate-r16, own system prompt, temperature 0.2")
    assert base["how"] == 'Seed 7, temperature 0.7, – tokens/s, top k 5, stops before "\\n"'
    assert trained["how"].startswith("Seed 7, temperature 0.2")
    assert trained["earlier"] == [{"prompt": "What is rain?", "text": "Arr."}]


def test_samples_are_columns_with_seeds_that_follow_one_another_and_weights_in_common() -> None:
    question = with_samples(Question(people(), "Rain?", {**SAMPLING, "seed": 2**31 - 2}), 3)
    assert [question.name_of(place) for place in range(3)] == ["base #1", "base #2", "base #3"]
    assert [question.sampling_of(place)["seed"] for place in range(6)] == [2**31 - 2, 2**31 - 1, 0] * 2
    assert len({question.identity_of(place) for place in range(6)}) == 2
    other = Question(people()[:1] * 2, "Rain?", SAMPLING, own=[Own(), Own("Be short.")])
    assert other.identity_of(0) != other.identity_of(1)
