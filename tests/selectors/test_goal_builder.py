"""The staged fill against its known picks, the promises of every constraint, and input that is odd."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datasel.errors import BadBudget, BadRow
from hf_datasel.learners import GoalScore
from hf_datasel.scorers.goal import GoalBins
from hf_datasel.selectors import (
    GOAL_PROFILES,
    AutoBudget,
    GoalBuilder,
    Oversampling,
    Selection,
    ShareFloor,
    ShareRange,
    SourceFloors,
    select,
)
from hf_datasel.selectors.goal_profiles import STRATA


spec = importlib.util.spec_from_file_location("goal_pool", Path(__file__).with_name("goal_pool.py"))
goal_pool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(goal_pool)
KNOWN = goal_pool.known_pool()
NAN = float("nan")


def known(**changes):
    fields = {
        "strata": STRATA,
        "count": 8,
        "modality": ShareRange("goal_bucket", ["short_video"], 0.5, 0.625),
        "temporal": ShareFloor("goal_temporal", ["Temporal"], 0.5),
        "cap_by": "goal_video_id",
        "unique": ["goal_text_key"],
        "strata_order": "first_seen",
        "beyond_reserves": False,
    }
    return GoalBuilder("goal_score", **{**fields, **changes})


def picks(rule, pool=KNOWN):
    build = rule.build(pool)
    return " ".join(pool["row_id"][row] for row in build.indices), build


def test_the_scores_of_the_known_pool_are_the_known_ones():
    expected = {"v1": -0.0409, "v2": -0.0489, "v3": -0.0579, "v4": -0.0804, "i1": 0.2024, "i2": 0.1787, "i3": 0.1520,
                "j1": 0.1723}  # fmt: skip
    found = dict(zip(KNOWN["row_id"], KNOWN["goal_score"], strict=True))
    assert {row: found[row] for row in expected} == pytest.approx(expected, abs=5e-5)


def test_the_picks_are_the_known_ones():
    found, build = picks(known())
    assert found == "v1 v2 v3 v4 i1 i2 i3 j1"
    assert build.stages == ["hard_temporal_video"] * 2 + ["hard_video"] * 2 + ["stratum_quota"] * 4
    assert build.unmet == []
    required = {its["name"]: its["required"] for its in build.report["constraints"]}
    assert required == {"rows": 8, "modality at least": 4, "modality at most": 5, "temporal at least": 2}


@pytest.mark.parametrize(
    ("changes", "expected", "stages", "unmet"),
    [
        ({"cap": 2}, "v1 v2 v4 v5 i1 i2 i3 j1", {"hard_temporal_video": 2, "hard_video": 2, "stratum_quota": 4}, []),
        ({"cap": 1}, "v1 v4 v5 v6 i1 i2 i3 j1", {"hard_temporal_video": 1, "hard_video": 3, "stratum_quota": 4},
         ["temporal at least: 1 of 2"]),
        ({"modality": ShareRange("goal_bucket", ["short_video"], 0.0, 0.25), "temporal": None},
         "i1 i2 i3 j1 j2 v1 v4 i4", {"stratum_quota": 7, "global_tail": 1}, []),
        ({"sources": SourceFloors("goal_source_group", 3, 0.1, 0.5)}, "v1 v2 v3 v4 i1 i2 j1 i3",
         {"hard_temporal_video": 2, "hard_video": 2, "hard_source_group": 3, "stratum_quota": 1}, []),
    ],
)  # fmt: skip
def test_the_variants_are_the_known_ones(changes, expected, stages, unmet):
    found, build = picks(known(**changes))
    assert (found, build.report["stages"], build.unmet) == (expected, stages, unmet)


def test_strata_by_name_make_the_picks_independent_of_row_order():
    rule = known(strata_order="name", modality=ShareRange("goal_bucket", ["short_video"], 0.0, 0.25), temporal=None)
    found, _ = picks(rule)
    assert found == "i1 i2 i3 j1 j2 v4 v5 i4"  # "Mixed" comes before "Temporal"
    for seed in range(5):
        assert picks(rule, KNOWN.shuffle(seed=seed))[0] == found


def big_pool(num_rows=3000, seed=0, with_ids=True):
    draw = np.random.default_rng(seed)
    video = draw.random(num_rows) < 0.4
    rows = {
        "s": np.round(draw.normal(size=num_rows), 2),  # many ties
        "kind": np.where(video, "video", "image"),
        "tag": np.where(video, np.where(draw.random(num_rows) < 0.3, "T", "M"), "S"),
        "source": [f"s{n}" for n in draw.geometric(0.2, num_rows) % 12],
        "clip": [
            f"c{n}" if is_video else None for n, is_video in zip(draw.integers(0, 90, num_rows), video, strict=True)
        ],
        "key": [f"k{n}" for n in draw.integers(0, int(num_rows * 0.8), num_rows)],
        "leaked": draw.random(num_rows) < 0.05,
    }
    if with_ids:
        rows["row_id"] = [f"r{n}" for n in draw.permutation(num_rows)]
    return Dataset.from_dict(rows)


BIG = big_pool()
EVERYTHING = {
    "strata": ["kind", "tag", "source"],
    "modality": ShareRange("kind", ["video"], 0.45, 0.6),
    "temporal": ShareFloor("tag", ["T"], 0.4),
    "sources": SourceFloors("source", 5, 0.01, 0.5),
    "unique": ["key"],
    "cap_by": "clip",
    "cap": 4,
    "exclude": "leaked",
}


@pytest.mark.parametrize("count", [1, 37, 300, 700])
def test_every_constraint_holds_in_what_was_picked(count):
    build = GoalBuilder("s", count=count, **EVERYTHING).build(BIG)
    rows = BIG.select(build.indices)
    assert len(rows) == count == len(set(build.indices.tolist())) == sum(build.report["stages"].values())
    assert len(set(rows["key"])) == count
    assert not any(rows["leaked"])
    assert max(Counter(clip for clip in rows["clip"] if clip is not None).values(), default=0) <= 4
    kinds = Counter(rows["kind"])
    for its in build.report["constraints"]:
        assert its["met"] == (its["name"] not in [line.split(":")[0] for line in build.unmet])
    by_name = {its["name"]: its for its in build.report["constraints"]}
    assert by_name["modality at least"]["achieved"] == kinds["video"] >= np.ceil(0.45 * count)
    assert kinds["video"] <= max(np.ceil(0.45 * count), np.floor(0.6 * count))
    assert (
        by_name["temporal at least"]["achieved"]
        == Counter(rows["tag"])["T"]
        >= by_name["temporal at least"]["required"]
    )
    assert build.report["pool"]["excluded"] == sum(BIG["leaked"])


@pytest.mark.parametrize(
    "size", [{"count": 400}, {"fraction": 0.1}, {"automatic": AutoBudget(100, 500, max_fraction=1)}]
)
def test_shuffling_changes_no_pick(size):
    rule = GoalBuilder("s", **size, **EVERYTHING)
    expected = [BIG["row_id"][row] for row in rule.rank(BIG)]
    for seed in range(3):
        shuffled = BIG.shuffle(seed=seed)
        assert [shuffled["row_id"][row] for row in rule.rank(shuffled)] == expected


def test_neither_the_hash_seed_nor_the_number_of_processes_changes_a_pick(in_new_process):
    code = (
        "import sys, importlib.util\n"
        "from hf_datasel.learners import GoalScore\n"
        "from hf_datasel.scorers.goal import GoalBins\n"
        "from hf_datasel.selectors import GOAL_PROFILES\n"
        "spec = importlib.util.spec_from_file_location('goal_pool', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "pool = module.known_pool().select_columns(['row_id', 'question', 'answer', 'source', 'clip', 'images'])\n"
        "pool = pool.map(GoalBins(source='source', video_id='clip'), batched=True, num_proc=int(sys.argv[2]))\n"
        "pool = pool.map(GoalScore().fit(pool), batched=True, num_proc=int(sys.argv[2]))\n"
        "print([pool['row_id'][row] for row in GOAL_PROFILES['Temp'].rule(count=9).rank(pool)])"
    )
    path = str(Path(__file__).with_name("goal_pool.py"))
    assert in_new_process(code, path, "1", hash_seed=1) == in_new_process(code, path, "2", hash_seed=2)


@given(
    draw=st.integers(0, 10**6),
    count=st.integers(1, 60),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    cap=st.integers(1, 3),
)
@settings(max_examples=40)
def test_whatever_is_asked_copies_caps_and_marks_hold(draw, count, low, high, cap):
    pool = big_pool(50, seed=draw)
    fields = {**EVERYTHING, "modality": ShareRange("kind", ["video"], low, high), "cap": cap}
    build = GoalBuilder("s", count=count, **fields).build(pool)
    rows = pool.select(build.indices)
    assert len(set(rows["key"])) == len(rows) <= count
    assert not any(rows["leaked"])
    assert max(Counter(clip for clip in rows["clip"] if clip is not None).values(), default=0) <= cap
    by_name = {its["name"]: its for its in build.report["constraints"]}
    assert by_name["modality at most"]["met"]
    assert len(rows) == count or "rows" in " ".join(build.unmet)
    # A row that could still have been picked would have been: by the last stage, if by no other.
    if len(rows) < count:
        left = set(range(50)) - set(build.indices.tolist())
        clips, keys = Counter(rows["clip"]), set(rows["key"])
        videos, most = Counter(rows["kind"])["video"], by_name["modality at most"]["required"]
        for row in left:
            its = pool[row]
            assert (
                its["leaked"] or its["key"] in keys or (its["clip"] is not None and clips[its["clip"]] >= cap)
                or (its["kind"] == "video" and videos >= most)
            )  # fmt: skip


def test_the_report_is_json():
    build = GoalBuilder("s", automatic=AutoBudget(100, 500, max_fraction=1), **EVERYTHING).build(BIG)
    assert json.loads(json.dumps(build.report)) == build.report
    assert set(build.report) == {"size", "pool", "constraints", "stages", "refused", "strata", "divergence"}


def test_a_builder_without_constraints_is_the_top_of_the_score():
    build = GoalBuilder("s", count=50).build(BIG)
    assert sorted(BIG.select(build.indices)["s"], reverse=True) == sorted(BIG["s"], reverse=True)[:50]


def test_quotas_keep_the_proportions_and_divergence_says_so():
    build = GoalBuilder("s", strata=["kind"], count=500).build(BIG)
    assert build.report["divergence"]["kind"] < 1e-6
    apart = GoalBuilder("s", strata=["kind"], count=500, modality=ShareRange("kind", ["video"], 0.9, 1.0)).build(BIG)
    assert 0.1 < apart.report["divergence"]["kind"] < 1
    share = Counter(BIG["kind"])["video"] / 3000
    p, q = np.array([0.9, 0.1]), np.array([share, 1 - share])
    middle = (p + q) / 2
    by_hand = ((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum()) / 2
    assert apart.report["divergence"]["kind"] == pytest.approx(by_hand)


def test_where_the_reserves_run_out_floors_reach_beyond_them_or_stay_unmet():
    fields = {"strata": ["kind"], "count": 100, "modality": ShareRange("kind", ["video"], 0.9, 1.0)}
    fields |= {"fallback": False, "oversampling": Oversampling(1, 1, 1)}
    videos = np.flatnonzero(np.array(BIG["kind"]) == "video")
    due = round(100 * len(videos) / 3000)
    short = GoalBuilder("s", beyond_reserves=False, **fields).build(BIG)
    assert short.unmet == [f"modality at least: {due} of 90"]
    assert short.report["stages"] == {"hard_video": due, "stratum_quota": 100 - due}
    enough = GoalBuilder("s", **fields).build(BIG)
    assert enough.unmet == [] and enough.report["stages"] == {"hard_video": 90, "stratum_quota": 10}
    best = sorted(np.array(BIG["s"])[videos], reverse=True)[:90]
    assert sorted((BIG["s"][row] for row in enough.indices[:90]), reverse=True) == best
    fields["oversampling"] = Oversampling(1, 2.4, 1)
    assert not GoalBuilder("s", beyond_reserves=False, **fields).build(BIG).unmet


def test_what_the_pool_does_not_have_stays_unmet():
    build = GoalBuilder("s", count=900, **EVERYTHING).build(BIG)  # 90 clips, four rows of each at most
    rows = BIG.select(build.indices)
    clips, keys = Counter(rows["clip"]), set(rows["key"])
    there = Counter(rows["kind"])["video"]
    assert len(rows) == 900 and there <= 360 and f"modality at least: {there} of 405" in build.unmet
    for row in BIG:
        assert row["kind"] == "image" or row["leaked"] or row["key"] in keys or clips[row["clip"]] == 4


def test_without_the_fallback_a_subset_may_stay_short_and_says_so():
    pool = Dataset.from_dict({"row_id": list("abcd"), "s": [4, 3, 2, 1], "key": ["x", "x", "x", "y"]})
    fields = {"count": 2, "unique": ["key"], "oversampling": Oversampling(1, 1, 1)}
    assert GoalBuilder("s", **fields).rank(pool).tolist() == [0, 3]
    short = GoalBuilder("s", **fields, fallback=False).build(pool)
    assert short.indices.tolist() == [0] and short.unmet == ["rows: 1 of 2"]
    assert short.report["refused"] == {"copy": 2} and "UNMET rows: 1 for 2" in str(short)


def test_the_seed_draws_the_fallback():
    pool = Dataset.from_dict({"row_id": list(range(200)), "s": range(200), "kind": ["a"] * 199 + ["b"]})
    fields = {
        "strata": ["kind"],
        "count": 20,
        "modality": ShareRange("kind", ["a"], 0, 1),
        "cap_by": "kind",
        "cap": 20,
    }
    first, other = (GoalBuilder("s", **fields, unique=["s"], seed=seed).rank(pool).tolist() for seed in (0, 1))
    assert first == other  # nothing was left to chance
    fields = {"count": 20, "unique": ["copy"], "oversampling": Oversampling(1, 1, 1)}
    pool = pool.add_column("copy", [0 if n >= 180 else n for n in range(200)])
    first, other = (GoalBuilder("s", **fields, seed=seed).rank(pool).tolist() for seed in (0, 1))
    assert first[0] == other[0] == 199 and first != other


def test_what_floors_took_counts_towards_the_quotas():
    rows = {"row_id": range(100), "s": range(100), "kind": ["a", "b"] * 50, "source": ["x", "y"] * 50}
    pool = Dataset.from_dict({**rows, "source": ["x" if n % 10 == 0 else "y" for n in range(100)]})
    rule = GoalBuilder("s", ["kind"], count=20, sources=SourceFloors("source", 2, 0.1, 0.5))
    build = rule.build(pool)  # floors: 9 of y, 2 of x, which are of kind a
    assert build.report["stages"] == {"hard_source_group": 11, "stratum_quota": 9}
    assert Counter(pool.select(build.indices)["kind"]) == {"a": 10, "b": 10}


def test_temporal_strata_keep_a_reserve_of_their_own():
    pool = Dataset.from_dict({"row_id": range(100), "s": range(100), "tag": ["T"] * 20 + ["M"] * 80})
    fields = {"strata": ["tag"], "count": 10, "temporal": ShareFloor("tag", ["T"], 0.6), "beyond_reserves": False}
    small, large = (GoalBuilder("s", oversampling=Oversampling(1, 1, its), **fields).build(pool) for its in (1, 3))
    assert small.unmet == ["temporal at least: 2 of 6"] and large.unmet == []


def test_the_temporal_floor_is_a_share_of_the_videos_that_are_due():
    tags = ["T"] * 10 + ["M"] * 30 + ["T"] * 60  # a tag on an image says nothing
    pool = Dataset.from_dict({"row_id": range(100), "s": range(100), "kind": ["v"] * 40 + ["i"] * 60, "tag": tags})
    for low, required in ((0.0, 2), (0.6, 3), (None, 2)):  # half of max(low, 40 %) of 10 rows
        rule = GoalBuilder(
            "s", count=10, modality=ShareRange("kind", ["v"], low, 1), temporal=ShareFloor("tag", ["T"], 0.5)
        )
        build = rule.build(pool)
        assert build.report["constraints"][-1]["required"] == required
        its = pool.select(build.indices)
        assert sum(kind == "v" and tag == "T" for kind, tag in zip(its["kind"], its["tag"], strict=True)) == required
    pools_share = GoalBuilder("s", count=10, modality=ShareRange("kind", ["v"]), temporal=ShareFloor("tag", ["T"]))
    required = {its["name"]: its["required"] for its in pools_share.build(pool).report["constraints"]}
    assert required == {"rows": 10, "modality at least": 4, "modality at most": 4, "temporal at least": 1}


class TestOddInput:
    """Bad input of the sheet, one by one."""

    def test_an_empty_pool_is_an_error(self):
        with pytest.raises(BadBudget, match="`scored` has no rows, expected at least one"):
            GoalBuilder("s", count=1).rank(Dataset.from_dict({"row_id": [], "s": []}))

    def test_a_pool_of_leaks_is_an_error(self):
        with pytest.raises(BadBudget, match="`exclude` is 'leaked', which marks all 2 scored rows"):
            GoalBuilder("s", count=1, exclude="leaked").rank(Dataset.from_dict({"s": [1, 2], "leaked": [1, 1]}))

    def test_a_row_that_was_not_checked_for_leaks_is_an_error(self):
        with pytest.raises(BadBudget, match="`exclude` is 'leaked', which is missing in 1 of 2 rows"):
            GoalBuilder("s", count=1, exclude="leaked").rank(Dataset.from_dict({"s": [1, 2], "leaked": [1, None]}))

    def test_one_bucket_is_missing(self):
        images = BIG.filter(lambda row: row["kind"] == "image")
        build = GoalBuilder("s", count=50, **EVERYTHING).build(images)
        assert len(build.indices) == 50
        assert build.unmet[:2] == ["modality at least: 0 of 23", "temporal at least: 0 of 10"]
        videos = BIG.filter(lambda row: row["kind"] == "video")
        build = GoalBuilder("s", count=50, **EVERYTHING).build(videos)
        assert build.unmet[:1] == ["rows: 30 of 50"]  # the upper end of the videos' share holds

    def test_contradicting_shares_let_the_lower_end_win(self):
        build = GoalBuilder("s", count=10, modality=ShareRange("kind", ["video"], 0.6, 0.2)).build(BIG)
        assert Counter(BIG.select(build.indices)["kind"])["video"] == 6
        assert "the upper end is below the lower one, which wins" in str(build)

    def test_more_rows_than_there_are(self):
        pool = Dataset.from_dict({"row_id": list("abc"), "s": [1.0, 3.0, NAN]})
        build = GoalBuilder("s", count=9).build(pool)
        assert build.indices.tolist() == [1, 0] and build.unmet == ["rows: 2 of 9"]
        assert build.report["pool"] == {"rows": 3, "candidates": 2, "not_scored": 1, "excluded": 0}

    def test_ids_that_name_two_rows_are_refused(self):
        with pytest.raises(BadRow, match="`row_id` names 1 values more than once"):
            select(Dataset.from_dict({"row_id": ["a", "a"], "s": [1, 2]}), GoalBuilder("s", count=1))

    def test_groups_without_a_name_are_not_capped(self):
        for nameless in (None, ""):
            pool = Dataset.from_dict(
                {"row_id": list("abcd"), "s": [4, 3, 2, 1], "clip": [nameless, nameless, "x", "x"]}
            )
            assert GoalBuilder("s", count=4, cap_by="clip", cap=1).rank(pool).tolist() == [0, 1, 2]

    def test_rows_without_any_key_are_no_copies(self):
        rows = {
            "row_id": list("abcde"),
            "s": [5, 4, 3, 2, 1],
            "text": [None, None, "x", "x", "x"],
            "media": [None, None, None, "m", "m"],
        }
        found = GoalBuilder("s", count=5, unique=["text", "media"]).rank(Dataset.from_dict(rows))
        assert found.tolist() == [0, 1, 2, 3]

    def test_equal_scores_go_by_row_id(self):
        pool = Dataset.from_dict({"row_id": ["c", "a", "b"], "s": [1.0, 1.0, 1.0]})
        assert GoalBuilder("s", count=2).rank(pool).tolist() == [1, 2]

    def test_an_inactive_temporal_floor_is_said(self, caplog):
        rule = known(temporal=ShareFloor("goal_temporal", ["Temporal", "Mixed"], 0.9))
        rule.rank(KNOWN)
        assert "the temporal floor is inactive: every candidate it looks at is temporal" in caplog.text
        assert len(caplog.records) == 1
        caplog.clear()
        known().rank(KNOWN)
        assert not caplog.text

    def test_floors_that_are_not_enforced_are_said(self):
        build = known(sources=SourceFloors("goal_source_group", 3, 0.3, 0.5)).build(KNOWN)
        notes = {its["name"]: its["note"] for its in build.report["constraints"] if "source" in its["name"]}
        assert notes["source 'I2' at least"] == "not enforced: more than the 1.6 rows in proportion"
        assert notes["source 'I1' at least"] == ""

    def test_strata_without_a_quota_are_counted(self):
        pool = Dataset.from_dict({"row_id": range(100), "s": range(100), "kind": ["a"] * 98 + ["b", "c"]})
        build = GoalBuilder("s", strata=["kind"], count=10).build(pool)
        assert build.report["strata"] == {"number": 3, "without_quota": 2, "share_without_quota": 0.02}
        assert set(pool.select(build.indices)["kind"]) == {"a"}

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({}, "the size is given by nothing, expected exactly one of"),
            ({"count": 1, "fraction": 0.1}, r"the size is given by \['count', 'fraction'\]"),
            ({"count": 0}, "`count` is 0, expected a whole number of at least 1"),
            ({"fraction": 2}, "`fraction` is 2, expected a number above 0"),
            ({"count": 1, "cap": 0}, "`cap` is 0"),
            ({"count": 1, "strata": "kind"}, "`strata` is 'kind', expected a list"),
            ({"count": 1, "seed": 1.5}, "`seed` is 1.5"),
            ({"count": 1, "modality": "video"}, "`modality` is 'video', expected a `ShareRange`"),
            ({"count": 1, "strata_order": "random"}, "`strata_order` is 'random'"),
        ],
    )
    def test_bad_values_are_refused_at_construction(self, fields, message):
        with pytest.raises(BadBudget, match=message):
            GoalBuilder("s", **fields)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: ShareRange("kind", ["v"], -0.1), "`modality.low` is -0.1, expected a share from 0 to 1"),
            (lambda: ShareRange("kind", []), r"`modality.values` is \[\], expected a list of at least one value"),
            (lambda: ShareFloor("tag", ["T"], 2), "`temporal.low` is 2, expected a share"),
            (lambda: SourceFloors("source", 0), "`sources.top` is 0"),
            (lambda: Oversampling(0.5), "`oversampling.base` is 0.5, expected a number of at least 1"),
            (lambda: AutoBudget(max_fraction=NAN), "`automatic.max_fraction` is nan, expected a share"),
        ],
    )
    def test_bad_settings_are_refused_at_construction(self, make, message):
        with pytest.raises(BadBudget, match=message):
            make()

    def test_values_of_another_type_than_the_column_are_refused(self):
        with pytest.raises(BadBudget, match=r"`modality.values` is \[\{\}\], expected values of type"):
            GoalBuilder("s", count=1, modality=ShareRange("kind", [{}], 0, 1)).rank(BIG)


def test_a_builder_comes_back_from_json_and_says_what_it_reads():
    rule = GoalBuilder("s", automatic=AutoBudget(positive="p"), oversampling=Oversampling(2, 3, 4), **EVERYTHING)
    fields = json.loads(json.dumps(select(BIG.add_column("p", BIG["s"]), rule).rule))
    assert fields.pop("rule") == "GoalBuilder"
    assert GoalBuilder(**fields) == rule
    assert rule.reads == ("s", "kind", "tag", "source", "key", "clip", "leaked", "p")


def test_a_stream_gives_the_same_picks(tmp_path):
    rule = GoalBuilder("s", count=40, **EVERYTHING)
    from_stream = select(BIG.to_iterable_dataset(), rule)
    assert from_stream.ids == select(BIG, rule).ids
    loaded = Selection.load(from_stream.save(tmp_path / "selection"), pool=BIG)
    assert loaded.kept["row_id"][:] == from_stream.ids


def test_profiles_differ_in_what_they_pick_as_they_say():
    videos = {}
    for name, goal in GOAL_PROFILES.items():
        assert goal.name == name == str(goal)
        rule = goal.rule(count=10)
        build = rule.build(KNOWN)
        kinds = Counter(KNOWN.select(build.indices)["goal_bucket"])
        videos[name] = kinds["short_video"]
        assert np.ceil(goal.video_share[0] * 10) <= kinds["short_video"] <= np.floor(goal.video_share[1] * 10)
    assert videos["MinLoss"] < videos["Temp+"]
    assert set(GOAL_PROFILES["Temp"].rule().strata) <= set(KNOWN.column_names)
    assert GOAL_PROFILES["Temp"].rule("other", fidelity="authors").temporal.values == ("Temporal", "Mixed")
    with pytest.raises(BadBudget, match="`fidelity` is 'author'"):
        GOAL_PROFILES["Temp"].rule(fidelity="author")


def test_the_presets_are_the_published_ones():
    # VDS target and multiplier; video range; temporal floor; counts; strata multiplier, mass, tail; factors; floors.
    table = {
        "MinLoss": ((2600, 1.6), (0.15, 0.32), 0.05, (12000, 72000, 0.001, 0.014), (16, 0.93, 3.5), (1.15, 1.45, 1.55),
                    (14, 0.0015, 0.33)),
        "Diverse": ((5000, 2.4), (0.25, 0.45), 0.15, (14000, 95000, 0.001, 0.016), (26, 0.97, 8), (1.28, 1.9, 2.2),
                    (28, 0.0030, 0.45)),
        "Temp": ((6500, 2.4), (0.35, 0.50), 0.20, (15000, 90000, 0.001, 0.016), (20, 0.95, 10), (1.30, 2.2, 3.0),
                 (18, 0.0022, 0.38)),
        "Temp+": ((9000, 3.2), (0.50, 0.64), 0.38, (16000, 110000, 0.001, 0.018), (22, 0.95, 16), (1.35, 2.9, 4.2),
                  (16, 0.0025, 0.38)),
    }  # fmt: skip
    assert set(table) == set(GOAL_PROFILES)
    for name, goal in GOAL_PROFILES.items():
        its, factors, floors = goal.budget, goal.oversampling, goal.sources
        assert (
            (its.positive_rows, its.positive_multiplier), goal.video_share, goal.temporal_share,
            (its.min_count, its.max_count, its.min_fraction, its.max_fraction),
            (its.strata_multiplier, its.coverage_mass, its.tail_rows),
            (factors.base, factors.modality, factors.temporal),
            (floors.top, floors.min_fraction, floors.expected_fraction),
        ) == table[name]  # fmt: skip
        rule = goal.rule()
        assert (rule.cap, rule.seed, its.positive, its.positive_threshold) == (8, 42, "goal_vds3", 0.0)
    published = {"MinLoss": 12_900, "Diverse": 42_900, "Temp": 33_300, "Temp+": 53_300}
    assert {name: goal.published_count for name, goal in GOAL_PROFILES.items()} == published


def test_the_defaults_are_those_of_the_template():
    assert dataclasses.astuple(AutoBudget()) == (
        15_000, 120_000, 0.001, 0.020, 24, 0.95, 12, None, 8_000, 0.0, 3,
    )  # fmt: skip
    assert dataclasses.astuple(Oversampling()) == (1.35, 2.4, 3.5)
    assert dataclasses.astuple(SourceFloors("s")) == ("s", 16, 0.0020, 0.35)
    assert GoalBuilder("s", count=1).cap == 8


def test_each_reading_of_a_profile_is_told_from_the_other():
    corrected, authors = (GOAL_PROFILES["Temp"].rule(count=3, fidelity=its) for its in ("corrected", "authors"))
    fields = ("unique", "beyond_reserves", "strata_order")
    assert [getattr(corrected, name) for name in fields] == [("goal_text_key", "goal_media_key"), True, "name"]
    assert [getattr(authors, name) for name in fields] == [("goal_text_key",), False, "first_seen"]
    assert (corrected.temporal.values, authors.temporal.values) == (("Temporal",), ("Temporal", "Mixed"))
    # "Is there a dog?" "Yes." of two pictures is one row for the authors, and two rows.
    asked = {"question": ["Is there a dog?"] * 2 + ["Why?"], "answer": ["Yes."] * 2 + ["So."]}
    pool = Dataset.from_dict({**asked, "row_id": list("abc"), "images": [["a.png"], ["b.png"], ["c.png"]]})
    pool = pool.map(GoalBins(), batched=True)
    pool = pool.map(GoalScore().fit(pool), batched=True)
    assert (len(corrected.rank(pool)), len(authors.rank(pool))) == (3, 2)


def test_a_reserve_is_the_largest_of_its_factors():
    # Temporal rows of the modality keep the modality's reserve where that is the larger one.
    pool = Dataset.from_dict({"row_id": range(100), "s": range(100), "tag": ["T"] * 20 + ["M"] * 80})
    fields = {"strata": ["tag"], "count": 10, "temporal": ShareFloor("tag", ["T"], 0.6), "beyond_reserves": False}
    rule = GoalBuilder("s", modality=ShareRange("tag", ["T", "M"], 0, 1), oversampling=Oversampling(1, 3, 1), **fields)
    assert rule.build(pool).unmet == []
