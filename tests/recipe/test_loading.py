"""Recipes: what is wrong is said at once, before any model loads."""

from pathlib import Path

import pytest
import yaml

from hf_datasel.errors import BadRecipe
from hf_datasel.proxy import Proxy
from hf_datasel.recipe import load_recipe
from hf_datasel.recipe.loading import scorers_on
from hf_datasel.recipe.reading import parsed


NOT_SHIPPED = {"ost_tabmwp", "ost_mathvision"}  # whose rows a user brings: see test_chain_of_thought.py
RECIPES = sorted(p for p in (Path(__file__).parents[2] / "recipes").glob("*.yaml") if p.stem not in NOT_SHIPPED)
QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_binds(path):
    recipe = load_recipe(path)
    assert len(recipe.pool_rows) > 0 and recipe.scorers


def problems(changes):
    with pytest.raises(BadRecipe) as caught:
        load_recipe(QUICKSTART, changes)
    return str(caught.value)


def test_all_faults_are_reported_together():
    message = problems(
        {
            "score.proxi": {},
            "pool.labels.max_length": "many",
            "select": {"TopFractionPerGroup": {"column": "ost_utility", "fraction": 0.2, "group": "wrter"}},
            "train.target.sft": {"lerning_rate": 1.0e-4},
            "train.beside": {"worse": {"TopFractoin": {}}},
            "anchors.path": "nowhere.jsonl",
            "publsh": {},
        }
    )
    for expected in (
        "`score.proxi` is unknown. Did you mean `proxy`?",
        "`pool.labels.max_length` is 'many', expected a valid integer",
        "`TopFractionPerGroup.group` is 'wrter', expected a column",
        "'lerning_rate', expected a field of SFTConfig, did you mean 'learning_rate'?",
        "`train.beside.worse.TopFractoin` is unknown. Did you mean `TopFraction`?",
        "`anchors.path` 'nowhere.jsonl' cannot be read",
        "`publsh` is unknown. Did you mean `publish`?",
    ):
        assert expected in message
    assert "has 7 problems" in message


def test_words_about_the_recipes_own_rows_are_not_said_of_others(tmp_path, caplog):
    other = tmp_path / "mine.jsonl"
    other.write_text((QUICKSTART.parent / "quickstart" / "pool.jsonl").read_text(encoding="utf-8"))
    own = load_recipe(QUICKSTART).publish
    assert own.about and own.license and own.sources and own.limits
    recipe = load_recipe(QUICKSTART, {"pool.path": str(other), "publish.license": "cc0-1.0"})
    said = recipe.publish
    assert (said.title, said.about, said.license, said.sources, said.limits) == ("A selection", "", "cc0-1.0", [], "")
    assert "publish.title, publish.about, publish.sources, publish.limits" in caplog.text
    assert recipe.resolved["publish"]["about"] == ""  # what replays the run says no more
    caplog.clear()
    # The same rows by another path, and other settings, are no other pool; nor is a file that somebody edited.
    same = {"pool.path": str(QUICKSTART.parent / "quickstart" / "pool.jsonl"), "pool.labels.max_length": 64}
    assert load_recipe(QUICKSTART, same).publish == own
    assert load_recipe(QUICKSTART, {"pool.path": str(other), "publish": {"title": "Mine"}}).publish.title == "Mine"
    edited = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    edited["pool"]["path"] = str(other)
    places = (("anchors",), ("train", "evaluation"), ("score", "proxy"), ("train", "target"))
    for *parents, last in places:
        section = edited[parents[0]][last] if parents else edited[last]
        for name in ("path", "model", "target"):
            if name in section:
                section[name] = str(QUICKSTART.parent / section[name])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(edited))
    assert load_recipe(tmp_path / "mine.yaml").publish == own
    assert not caplog.text


def test_a_missing_score_column_is_found_before_scoring():
    message = problems({"select": {"TopFraction": {"column": "ost_utilty", "fraction": 0.2}}})
    assert "`TopFraction.column` is 'ost_utilty', expected a column of the pool or of a scorer" in message


def test_a_missing_column_of_embeddings_is_found_before_scoring():
    message = problems({"select": {"KCenter": {"embedding": "embeding", "fraction": 0.2}}})
    assert "`KCenter.embedding` is 'embeding', expected a column of the pool or of a scorer" in message

    message = problems({"select": {"S2L": {"trajectory": "loss_trajectry", "fraction": 0.2}}})
    assert "`S2L.trajectory` is 'loss_trajectry', expected a column of the pool or of a scorer" in message


def test_a_scorer_that_calls_another_names_it():
    def with_miss(**its):
        return {"score.scorers": [{"MISS": {"count": 9, **its}}], "select": {"Full": {}}, "train.beside": {}}

    found = load_recipe(QUICKSTART, with_miss(scorer={"OneStepTrain": {"learning_rate": 1.0e-4}}, rounds=3))
    (miss,) = found.scorers
    inner = miss.scorer
    assert (inner.learning_rate, len(inner.anchors), inner.proxy) == (1e-4, len(found.anchor_rows), found.score.proxy)
    assert (miss.labels.max_length, miss.rounds) == (512, 3)
    assert scorers_on(found, Proxy("another"))[0].scorer.proxy == Proxy("another"), (
        "rounds start from the warmed-up proxy"
    )
    assert "`score.scorers[0].MISS.scorer.Perplexty` is unknown. Did you mean `Perplexity`?" in problems(
        with_miss(scorer={"Perplexty": {}})
    )
    assert "`score.scorers[0].MISS.scorer.Perplexity.kep` is unknown. Did you mean `keep`?" in problems(
        with_miss(scorer={"Perplexity": {"kep": "low"}})
    )
    assert "`score.scorers[0].MISS.scorer` is missing" in problems(with_miss())


def test_two_scorers_of_one_column_are_found_before_scoring():
    message = problems({"score.scorers": [{"EL2N": {"keep": "high"}}, {"EL2N": {"keep": "low"}}]})
    assert "`EL2N` writes the columns ['el2n', 'el2n_row_loss'], which the pool or a scorer before it has" in message


def test_a_count_above_the_pool_is_found_before_scoring():
    message = problems({"select": {"TopCount": {"column": "ost_utility", "count": 601}}})
    assert "`TopCount.count` is 601, expected at most 600, the rows of the pool." in message


@pytest.mark.parametrize("seeds", [[], [0, 0]])
def test_seeds_are_runs_of_their_own(seeds):
    assert f"`seeds` is {seeds}, expected at least one, and none twice" in problems({"train.seeds": seeds})


def test_only_scorers_are_offered_as_scorers():
    message = problems({"score.scorers": [{"tiny_validation": {}}]})
    assert "`score.scorers[0].tiny_validation` is unknown" in message and "weighted_sum" not in message


def test_a_value_the_class_itself_refuses_is_a_problem():
    assert "fraction" in problems({"select": {"TopFraction": {"column": "ost_utility", "fraction": 1.5}}})


def test_a_pool_without_training_columns_is_a_problem():
    assert "`pool` has the columns" in problems({"pool.rename": {"prompt": "question"}})


def test_anchors_that_occur_in_the_evaluation_are_a_problem():
    assert "`evaluation` shares 100 rows with `anchors`" in problems(
        {"train.evaluation.path": "quickstart/held_out.jsonl"}
    )


@pytest.mark.parametrize("text", ["[1, 2]", "pool: [", "", "pool: 3\nscore: x\nselect: []"])
def test_no_recipe_at_all(text, tmp_path):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(BadRecipe, match=r"`.*r\.yaml"):
        load_recipe(tmp_path / "r.yaml")


def test_a_missing_file():
    with pytest.raises(BadRecipe, match="does not exist"):
        load_recipe("nowhere.yaml")


def test_the_resolved_recipe_replays(tmp_path):
    recipe = load_recipe(QUICKSTART)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.resolved, sort_keys=False))
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again.resolved == recipe.resolved
    assert again.rule == recipe.rule and [s.spec for s in again.scorers] == [s.spec for s in recipe.scorers]
    assert recipe.resolved["pool"]["labels"]["truncation_mode"] == "keep_start"


BUILDER = {
    "column": "ost_utility",
    "strata": ["writer"],
    "count": 20,
    "modality": {"column": "writer", "values": ["human"], "low": 0.2, "high": 0.6},
    "sources": {"column": "writer", "top": 3},
}


def test_a_rule_with_settings_in_groups_binds_and_resolves():
    recipe = load_recipe(QUICKSTART, {"select": {"GoalBuilder": BUILDER}})
    assert recipe.rule.modality.low == 0.2 and recipe.rule.sources.top == 3
    assert recipe.rule.oversampling.modality == 2.4


def test_columns_in_groups_of_settings_are_checked_too():
    message = problems({"select": {"GoalBuilder": {**BUILDER, "strata": ["wrter"], "unique": ["kee"]}}})
    assert "`GoalBuilder` reads 'wrter', expected a column of the pool or of a scorer" in message
    assert "`GoalBuilder` reads 'kee'" in message and "'writer', expected" not in message
    message = problems({"select": {"GoalBuilder": {**BUILDER, "modality": {"column": "writer", "vales": []}}}})
    assert "`select.GoalBuilder.modality.vales` is unknown. Did you mean `values`?" in message


def test_what_a_scorer_needs_must_be_there_before_it():
    scorers = [{"GoalScore": {}}, {"GoalBins": {"source": "origin"}}, {"LeakGuard": {}}, {"GoalSkore": {}}]
    assert "`score.scorers[3].GoalSkore` is unknown. Did you mean `GoalScore`?" in problems({"score.scorers": scorers})
    message = problems({"score.scorers": scorers[:3], "select": {"TopCount": {"column": "goal_score", "count": 2}}})
    assert "`GoalScore` needs the columns ['goal_status'" in message and "GoalBins writes them" in message
    assert "`GoalBins` needs the columns ['origin'], expected them in the pool" in message
    assert "LeakGuard" not in message  # the evaluation of `train` is what it guards
    missing = problems({"score.scorers": scorers[1:3], "train": None})
    assert "`score.scorers[1].LeakGuard` needs `train.evaluation`" in missing


def test_a_merge_that_another_merges_first_holds_no_key_twice():
    text = "base: &base {a: 1, b: 2}\none:\n  inner: &inner\n    <<: *base\n    a: 3\ntwo:\n  <<: *inner\n"
    assert parsed(text, "recipe") == yaml.safe_load(text)
    with pytest.raises(BadRecipe, match="'a' is there twice"):
        parsed(text.replace("    a: 3\n", "    a: 3\n    a: 4\n"), "recipe")
