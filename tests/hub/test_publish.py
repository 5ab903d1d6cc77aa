"""A selection on the Hub and back, over real HTTP, with everything going wrong once."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard, HfApi, get_session

from hf_datasel import Random, Source, TopFraction, load_selection, publish, select
from hf_datasel.errors import DataselError, PublishError
from hf_datasel.hub import client


REPO = "tester/curated"
GSM8K = Source("openai/gsm8k", revision="e53f048", license="mit")


@pytest.fixture(scope="module")
def scored(real_rows):
    rows = real_rows("pool.jsonl", 40)
    scores = np.random.default_rng(0).normal(size=len(rows))
    scores[3] = np.nan
    status = ["ok" if np.isfinite(score) else "empty_completion" for score in scores]
    return rows.add_column("s", scores).add_column("s_status", status)


@pytest.fixture(scope="module")
def selection(scored):
    return select(scored, TopFraction("s", 0.25), [{"scorer": "Drawn", "seed": 0}])


def send(selection, hub, repo_id=REPO, config_name="top-25", **options):
    return publish(
        selection, repo_id, config_name, **{"sources": [GSM8K], "plots": False, "token": hub.token, **options}
    )


def commits(hub, branch="main", repo_id=REPO):
    return hub.repo(repo_id).history(branch)


def is_whole(hub, selection, done, repo_id=REPO):
    """What a stranger gets who knows the repository's name alone."""
    kept = load_dataset(repo_id, split="train", token=hub.token, revision=done.commit)
    everything = load_dataset(repo_id, "top-25-scored", split="train", token=hub.token)
    found = load_selection(repo_id, token=hub.token)
    assert kept["row_id"][:] == selection.ids
    assert everything["row_id"][:] == selection.pool["row_id"][:]
    assert everything["s"][:] == pytest.approx(selection.pool["s"][:], nan_ok=True)
    assert found.ids == selection.ids and found.rule == selection.rule
    assert found.apply(selection.pool.shuffle(seed=3)).kept["prompt"][:] == selection.kept["prompt"][:]


def test_one_commit_holds_everything(hub, selection):
    done = send(selection, hub)
    assert [commit.oid for commit in commits(hub)][-1] == done.commit
    assert len(commits(hub)) == 2  # the repository's own first one, and ours
    assert list(hub.repo(REPO).branches) == ["main"]
    is_whole(hub, selection, done)
    ranks = load_dataset(REPO, "top-25-scored", split="train", token=hub.token)["selection_rank"][:]
    assert [ranks[index] for index in selection.indices] == list(range(1, selection.num_kept + 1))
    assert sum(rank is None for rank in ranks) == selection.num_rows - selection.num_kept


def test_it_is_private_unless_asked_otherwise(hub, selection):
    send(selection, hub)
    send(selection, hub, "tester/open", private=False)
    assert hub.repo(REPO).private and not hub.repo("tester/open").private


def test_the_card_says_what_why_and_how(hub, selection):
    send(selection, hub, title="The best quarter", about="Scores drawn at random.", limits="Nothing at all.")
    card = DatasetCard.load(REPO, token=hub.token)
    assert card.data.license == "mit"
    assert card.data.source_datasets == ["openai/gsm8k"]
    assert card.data.tags == ["hf_datasel", "data-selection"]
    for text in (
        "# The best quarter", "Scores drawn at random.", "Nothing at all.", "**10 of 40 rows** (25.0 %)",
        'load_selection("tester/curated", "top-25").apply(pool)', "| Drawn |", "openai/gsm8k@e53f048 (mit)",
        "| empty_completion | 1 |",
    ):  # fmt: skip
        assert text in card.text, text
    best = selection.kept[0]
    assert best["completion"][:20].split("\n")[0] in card.text


def test_provenance_is_enough_to_check_the_list(hub, selection, tmp_path):
    done = send(selection, hub)
    said = json.loads(commits(hub)[-1].files["selections/top-25/provenance.json"])
    assert said == done.provenance
    assert said["counts"] == {"rows": 40, "kept": 10, "dropped": 30, "not_scored": 1}
    assert said["sources"][0]["revision"] == "e53f048"
    assert said["scorers"] == [{"scorer": "Drawn", "seed": 0}] and said["threshold"] == selection.threshold
    assert {"datasets", "hf_datasel", "python"} <= set(said["versions"])
    import hashlib

    listed = "".join(f"{row_id}\n" for row_id in selection.ids)
    assert said["kept_ids_sha256"] == hashlib.sha256(listed.encode()).hexdigest()


FAULTS = {
    "creating, busy": ("POST", "/api/repos/create", {"status": 503}),
    "creating, lost answer": ("POST", "/api/repos/create", {"status": 500, "after": True}),
    "branch, busy": ("POST", "/branch/", {"status": 429}),
    "branch, lost answer": ("POST", "/branch/", {"status": 502, "after": True}),
    "preupload, server error": ("POST", "/preupload/", {"status": 500}),
    "large files, busy": ("POST", "/info/lfs/objects/batch", {"status": 503}),
    "upload, server error": ("PUT", "", {"status": 500}),
    "upload, cut half-way": ("PUT", "", {"cut_upload": True}),
    "staging, conflict": ("POST", "/commit/datasel-", {"status": 409}),
    "staging, stale": ("POST", "/commit/datasel-", {"status": 412}),
    "staging, lost answer": ("POST", "/commit/datasel-", {"status": 500, "after": True}),
    "staging, cut answer": ("POST", "/commit/datasel-", {"cut": True}),
    "landing, conflict": ("POST", "/commit/main", {"status": 409}),
    "landing, stale": ("POST", "/commit/main", {"status": 412}),
    "landing, asked to wait": ("POST", "/commit/main", {"status": 429, "headers": {"Retry-After": "0"}}),
    "landing, server error": ("POST", "/commit/main", {"status": 500}),
    "landing, gateway": ("POST", "/commit/main", {"status": 504}),
    "landing, cut half-way": ("POST", "/commit/main", {"cut_upload": True}),
    "landing, lost answer": ("POST", "/commit/main", {"status": 503, "after": True}),
    "landing, cut answer": ("POST", "/commit/main", {"cut": True}),
    "reading back, cut": ("GET", r"/resolve/.*\.parquet", {"cut": True}),
    "reading the card, server error": ("(GET|HEAD)", "/resolve/.*README.md", {"status": 500}),
    "listing, busy": ("GET", "/tree/", {"status": 503}),
    "clearing up, server error": ("DELETE", "/branch/", {"status": 500}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_once_ends_with_one_good_revision(hub, selection, name):
    method, path, kind = FAULTS[name]
    fault = hub.fail(method, path, **kind)
    done = send(selection, hub)
    assert fault.times == 0, "the fault was never met"
    assert len(commits(hub)) == 2
    assert commits(hub)[-1].oid == done.commit
    is_whole(hub, selection, done)


@pytest.mark.parametrize("path", ["/commit/main", "/commit/datasel-", "/branch/", "/api/repos/create"])
def test_a_hub_that_falls_silent_is_not_waited_for_for_ever(hub, selection, monkeypatch, caplog, path):
    monkeypatch.setattr(client, "SILENCE", 0.3)
    fault = hub.fail("GET|POST", path, delay=2.0)
    done = send(selection, hub)
    assert fault.times == 0 and "ReadTimeout" in caplog.text and "Attempt 2 in" in caplog.text
    assert len(commits(hub)) == 2
    is_whole(hub, selection, done)
    assert get_session().timeout.read is None  # the user's own calls wait as they did


def test_all_faults_at_once_too(hub, selection, monkeypatch):
    monkeypatch.setattr(client, "ATTEMPTS", len(FAULTS))  # they meet in a few places
    faults = [hub.fail(method, path, **kind) for method, path, kind in FAULTS.values()]
    done = send(selection, hub)
    assert sum(fault.times for fault in faults) == 0
    assert len(commits(hub)) == 2
    is_whole(hub, selection, done)


@pytest.mark.parametrize("times", [1, 3])
def test_somebody_elses_commit_is_kept(hub, selection, times):
    send(selection, hub, config_name="first")
    hub.race(times, branch="main")
    done = send(selection, hub)
    history = commits(hub)
    assert len(history) == 2 + times + 1 and history[-1].oid == done.commit
    assert sum(path.startswith("elsewhere-") for path in history[-1].files) == times


def test_a_repository_that_never_rests_is_given_up_on(hub, selection):
    hub.race(100, branch="main")
    with pytest.raises(PublishError, match="changed by others 5 times"):
        send(selection, hub)
    assert all(path.startswith(("elsewhere-", ".git")) for path in commits(hub)[-1].files)


README_OF_MINE = (
    "---\nlicense: cc-by-4.0\nconfigs:\n- config_name: mine\n  data_files: mine/*\n---\n\nDo not lose this.\n"
)


@pytest.mark.parametrize("status", [403, 501, 500])
@pytest.mark.parametrize("times", [1, 2, 40])
def test_a_readme_that_cannot_be_read_is_not_one_that_is_missing(hub, selection, monkeypatch, status, times):
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    hub.plant(REPO, files={"README.md": README_OF_MINE.encode(), "mine/a.parquet": b"x"})
    hub.fail("HEAD", "/resolve/.*README.md", status=status, times=times)
    try:
        send(selection, hub)
    except PublishError as error:
        assert f"HTTP {status}" in str(error)
    text = commits(hub)[-1].files["README.md"].decode()
    assert "Do not lose this." in text and "config_name: mine" in text


def test_what_a_killed_run_left_behind_changes_nothing(hub, selection):
    api = HfApi(token=hub.token)
    hub.plant(REPO, files={"README.md": b"Old words."})
    for branch in ("datasel-top-25", "datasel-top-25-0a1b2c3d"):
        api.create_branch(REPO, repo_type="dataset", branch=branch)
    api.upload_file(path_or_fileobj=b"Newer words.", path_in_repo="README.md", repo_id=REPO, repo_type="dataset")
    hub.fail("DELETE", "/branch/", status=503)
    send(selection, hub)
    text = commits(hub)[-1].files["README.md"].decode()
    assert "Newer words." in text and "Old words." not in text
    assert {"datasel-top-25", "datasel-top-25-0a1b2c3d"} <= set(hub.repo(REPO).branches)


def test_two_publishers_of_one_name_do_not_mix(hub, scored, selection, monkeypatch):
    from hf_datasel.hub.landing import Landing

    verify, other = Landing._verify, select(scored, TopFraction("s", 0.5))

    def meanwhile(self, revision):
        verify(self, revision)
        monkeypatch.setattr(Landing, "_verify", verify)
        send(other, hub)

    monkeypatch.setattr(Landing, "_verify", meanwhile)
    done = send(selection, hub)
    is_whole(hub, selection, done)
    assert len(commits(hub)) == 3


@pytest.mark.parametrize("path", ["top-25/cat.jpg", "top-25-scored/rows.parquet"])
def test_other_peoples_folders_are_not_emptied(hub, selection, path):
    hub.plant(REPO, files={"README.md": README_OF_MINE.encode(), path: b"precious"})
    with pytest.raises(PublishError, match="holds other files in that folder"):
        send(selection, hub)
    assert commits(hub)[-1].files[path] == b"precious"


def test_a_repository_of_bare_files_keeps_loading_as_it_did(hub, selection):
    hub.plant(REPO, files={"train.jsonl": b'{"a": 1}'})
    with pytest.raises(PublishError, match="holds data without `configs`"):
        send(selection, hub)


def test_a_readme_of_broken_yaml_is_said(hub, selection):
    hub.plant(REPO, files={"README.md": b"---\n: [\n---\n"})
    with pytest.raises(PublishError, match="whose YAML cannot be read"):
        send(selection, hub)


def test_rows_that_got_lost_are_sent_again(hub, selection):
    send(selection, hub)
    HfApi(token=hub.token).delete_folder("top-25", REPO, repo_type="dataset")
    is_whole(hub, selection, send(selection, hub))


def test_old_shards_go(hub, selection):
    send(selection, hub)
    old = commits(hub)[-1].files["top-25/train-00000-of-00001.parquet"]
    api = HfApi(token=hub.token)
    shard = "top-25/train-00001-of-00002.parquet"
    api.upload_file(path_or_fileobj=old, path_in_repo=shard, repo_id=REPO, repo_type="dataset")
    done = send(selection, hub)
    assert shard not in commits(hub)[-1].files
    is_whole(hub, selection, done)


def test_a_commit_that_landed_is_not_called_a_failure(hub, selection, monkeypatch):
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    hub.fail("POST", "/commit/main", status=500, after=True)
    hub.fail("POST", "/commit/main", status=501, times=5)
    done = send(selection, hub)
    assert len(commits(hub)) == 2 and commits(hub)[-1].oid == done.commit


def test_the_hub_says_how_long_to_wait(hub, selection, monkeypatch):
    waited = []
    monkeypatch.setattr(client.time, "sleep", waited.append)
    hub.fail("POST", "/commit/main", status=429, headers={"Retry-After": "17"})
    send(selection, hub)
    assert 17.0 in waited


def test_a_second_publication_of_the_same_makes_no_second_commit(hub, selection):
    first = send(selection, hub)
    second = send(selection, hub)
    assert second.commit == first.commit and len(commits(hub)) == 2


def test_another_selection_stands_beside_the_first(hub, scored, selection):
    send(selection, hub)
    drawn = select(scored, Random(0.5))
    send(drawn, hub, config_name="random-50")
    kept = load_dataset(REPO, "random-50", split="train", token=hub.token)
    assert kept["row_id"][:] == drawn.ids
    assert load_dataset(REPO, split="train", token=hub.token)["row_id"][:] == selection.ids  # still the default
    text = DatasetCard.load(REPO, token=hub.token).text
    assert text.count("<!-- hf_datasel: ") == 4
    with pytest.raises(PublishError, match=r"has the selections \['random-50', 'top-25'\], expected one"):
        load_selection(REPO, token=hub.token)
    with pytest.raises(PublishError, match=r"`repo_id` is '/nowhere/at/all', expected a folder that is there"):
        load_selection("/nowhere/at/all")
    one, other = (load_selection(REPO, name, token=hub.token) for name in ("top-25", "random-50"))
    assert one.diff(other).num_common == len(set(selection.ids) & set(drawn.ids))


def test_words_of_the_owner_are_kept(hub, selection):
    api = HfApi(token=hub.token)
    api.create_repo(REPO, repo_type="dataset")
    text = "---\nlicense: cc-by-4.0\npretty_name: Mine\n---\n\n# Mine\n\nDo not lose this.\n"
    api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=REPO, repo_type="dataset")
    send(selection, hub)
    send(selection, hub, title="Another title")
    card = DatasetCard.load(REPO, token=hub.token)
    assert card.data.license == "cc-by-4.0" and card.data.pretty_name == "Mine"
    assert card.text.count("Do not lose this.") == 1
    assert card.text.count("# Another title") == 1 and "# tester/curated, top-25" not in card.text


def test_fewer_rows_than_before_leave_no_old_ones(hub, scored, selection):
    send(select(scored, TopFraction("s", 0.75)), hub)
    done = send(selection, hub)
    is_whole(hub, selection, done)


def test_a_pull_request_leaves_main_alone(hub, selection):
    done = send(selection, hub, create_pr=True)
    assert len(commits(hub)) == 1 and list(hub.repo(REPO).branches) == ["main"]
    kept = load_dataset(REPO, "top-25", split="train", revision="refs/pr/1", token=hub.token)
    assert kept["row_id"][:] == selection.ids
    assert load_selection(REPO, revision="refs/pr/1", token=hub.token).ids == selection.ids
    assert done.commit in [commit.oid for commit in commits(hub, "refs/pr/1")] and "discussions/1" in done.url


def test_a_light_pull_request_takes_the_content_away(hub, selection):
    send(selection, hub)
    send(selection, hub, light=True, create_pr=True, overwrite=True)
    assert not [path for path in hub.repo(REPO).at("refs/pr/1").files if path.startswith("top-25-scored/")]
    table = load_dataset(REPO, "top-25", split="train", revision="refs/pr/1", token=hub.token)
    assert "prompt" not in table.column_names


def test_there_is_nothing_to_ask_for_where_it_is_there_already(hub, selection):
    send(selection, hub)
    with pytest.raises(PublishError, match="nothing to ask for"):
        send(selection, hub, create_pr=True)
    assert list(hub.repo(REPO).branches) == ["main"] and not hub.repo(REPO).pull_requests


def test_a_light_one_has_ids_and_scores_and_no_content(hub, selection):
    done = send(selection, hub, light=True)
    table = load_dataset(REPO, split="train", token=hub.token)
    assert table.column_names == ["row_id", "s", "s_status", "selection_rank"] and len(table) == 40
    assert load_selection(REPO, token=hub.token).ids == selection.ids
    parquet = [path for path in commits(hub)[-1].files if path.endswith(".parquet")]
    assert sorted(parquet) == ["selections/top-25/rows.parquet", "top-25/train-00000-of-00001.parquet"]
    text = DatasetCard.load(REPO, token=hub.token).text
    assert "no content" in text and "What was kept" not in text and "| answer |" not in text
    assert done.light


def test_a_dry_run_writes_the_same_and_sends_nothing(hub, selection, tmp_path):
    done = publish(selection, REPO, "top-25", sources=[GSM8K], dry_run=tmp_path, plots=True)
    assert done.commit is None and hub.log == []
    kept = load_dataset(str(tmp_path), "top-25", split="train")
    assert kept["row_id"][:] == selection.ids
    assert load_dataset(str(tmp_path), split="train")["row_id"][:] == selection.ids
    assert load_selection(str(tmp_path)).apply(selection.pool).kept["row_id"][:] == selection.ids
    assert (tmp_path / "assets" / "top-25" / "histogram.png").stat().st_size > 10_000
    send(selection, hub, plots=True)
    sent = {path for path in commits(hub)[-1].files if not path.startswith(".git")}
    assert sent == {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_copy_that_lacks_rows_is_told_which(hub, selection):
    send(selection, hub)
    copy = selection.pool.select(range(1, 40))
    missing = selection.pool[0]["row_id"]
    with pytest.raises(DataselError, match=rf"lacks 1 of the 40 rows.*{missing}"):
        load_selection(REPO, token=hub.token).apply(copy)


# What goes wrong for good


def untouched(hub):
    return REPO not in [name for _, name in hub.repos] or len(commits(hub)) == 1


@pytest.mark.parametrize("repo_id", ["curated", "a/b/c", "me/../../etc", "me/", "me/da ta", "-me/x", ""])
def test_a_wrong_repo_id_is_refused_before_anything_is_sent(hub, selection, repo_id):
    with pytest.raises(PublishError, match="`repo_id` is"):
        send(selection, hub, repo_id)
    assert hub.log == []


@pytest.mark.parametrize("name", ["data", "default", "top 25", "../up", "", "selections", "assets", "top-25-scored"])
def test_a_wrong_config_name_is_refused(hub, selection, name):
    with pytest.raises(PublishError, match="`config_name` is"):
        send(selection, hub, config_name=name)
    assert hub.log == []


def test_without_a_token_it_says_so(hub, selection, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(client, "get_token", lambda: None)
    with pytest.raises(PublishError, match="`token` is missing"):
        send(selection, hub, token=None)
    assert hub.log == []


def test_a_token_that_is_none_or_may_not_write(hub, selection):
    wrong = "hf_" + "x" * 30
    for token, message in ((wrong, "HTTP 401.*not valid"), (hub.read_token, "HTTP 403.*may not write")):
        with pytest.raises(PublishError, match=message) as caught:
            send(selection, hub, token=token)
        # Collectors of errors follow these, down to the request and its headers.
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        assert token not in str(caught.value)
        assert untouched(hub)


def test_a_namespace_of_somebody_else(hub, selection):
    with pytest.raises(PublishError, match="HTTP 403"):
        send(selection, hub, "stranger/curated")


def test_other_columns_in_the_way(hub, selection, scored):
    send(selection, hub)
    other = select(scored.add_column("more", [0] * 40), TopFraction("s", 0.25))
    with pytest.raises(PublishError, match=r"has other columns \(only there or only here: \['more'\]\)"):
        send(other, hub)
    assert len(commits(hub)) == 2
    done = send(other, hub, overwrite=True)
    assert "more" in load_dataset(REPO, split="train", token=hub.token, revision=done.commit).column_names


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", ""), ("POST", "/commit/datasel-"), ("POST", "/commit/main"), ("POST", "/preupload/")]
)
def test_a_failure_that_lasts_leaves_main_as_it_was_and_a_later_run_ends_well(
    hub, selection, method, path, monkeypatch
):
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    fault = hub.fail(method, path, status=501, times=1000)
    with pytest.raises(PublishError, match="HTTP 501"):
        send(selection, hub)
    assert len(commits(hub)) == 1
    with pytest.raises(PublishError, match="holds no selection"):
        load_selection(REPO, token=hub.token)
    fault.times = 0
    is_whole(hub, selection, send(selection, hub))
    assert len(commits(hub)) == 2 and list(hub.repo(REPO).branches) == ["main"]


def test_rows_that_come_back_changed_never_land(hub, selection, monkeypatch):
    from hf_datasel.hub.landing import Landing

    read = Landing._row_ids
    monkeypatch.setattr(Landing, "_row_ids", lambda self, name, revision: read(self, name, revision)[:-1])
    for create_pr in (False, True):
        with pytest.raises(PublishError, match="gave back 9 rows of 'top-25' that are not the 10 sent"):
            send(selection, hub, create_pr=create_pr)
    assert len(commits(hub)) == 1 and not hub.repo(REPO).pull_requests


def test_an_empty_selection_and_one_without_rows_are_refused(hub, selection, scored, tmp_path):
    from hf_datasel import AboveThreshold, Selection

    with pytest.raises(PublishError, match="`selection` has no rows"):
        send(select(scored, AboveThreshold("s", 99.0)), hub)
    with pytest.raises(PublishError, match="`selection` has no rows"):
        send(Selection.load(selection.save(tmp_path)), hub)
    taken = select(scored.add_column("selection_rank", [0] * 40), TopFraction("s", 0.25))
    with pytest.raises(PublishError, match="'selection_rank', which publishing adds"):
        send(taken, hub)
    assert hub.log == []


def test_rows_instead_of_a_selection_are_refused(hub, selection):
    with pytest.raises(PublishError, match="`selection` is a Dataset, expected a Selection"):
        send(selection.kept, hub)


def test_a_dry_run_does_not_litter(hub, selection, tmp_path):
    (tmp_path / "thesis.md").write_text("mine")
    with pytest.raises(PublishError, match="which holds other files"):
        send(selection, hub, dry_run=tmp_path)
    send(selection, hub, dry_run=tmp_path / "new")
    send(selection, hub, dry_run=tmp_path / "new")


def test_replacing_another_selection_is_said(hub, selection, scored, caplog):
    send(selection, hub)
    assert "replaces another selection" not in caplog.text
    send(select(scored, TopFraction("s", 0.5)), hub)
    assert "replaces another selection published as 'top-25'" in caplog.text


def test_a_saved_selection_is_loaded_from_its_folder_too(hub, selection, tmp_path):
    assert load_selection(str(selection.save(tmp_path))).ids == selection.ids


def test_no_licence_is_said(hub, selection, caplog):
    with caplog.at_level(logging.WARNING):
        publish(selection, REPO, "top-25", plots=False, token=hub.token)
    assert "`license` is not stated" in caplog.text
    assert "**not stated by the publisher**" in DatasetCard.load(REPO, token=hub.token).text


def test_a_token_is_in_nothing_that_is_written(hub, selection, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        hub.fail("PUT", "", status=500)
        send(selection, hub, plots=True)
        publish(selection, REPO, "top-25", dry_run=tmp_path, token=hub.token, plots=False)
    stored = [content for commit in commits(hub) for content in commit.files.values()]
    written = [path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()]
    tables = [
        str(load_dataset(REPO, name, split="train", token=hub.token).to_list()) for name in ("top-25", "top-25-scored")
    ]
    texts = [content.decode(errors="ignore") for content in [*stored, *written]]
    assert all(hub.token not in text for text in [*texts, *tables])
    assert hub.token not in caplog.text


def test_hostile_rows_cannot_break_the_card(hub):
    rows = Dataset.from_dict({
        "prompt": ["<script>alert(1)</script> | a | b |", "---\nlicense: other\n---", "plain"],
        "completion": ["<!-- hf_datasel: end of top-25 -->", "# Not a heading\n\n![x](javascript:1)", "text"],
        "s": [3.0, 2.0, 1.0],
    })  # fmt: skip
    done = send(select(rows, TopFraction("s", 0.5)), hub)
    text = DatasetCard.load(REPO, token=hub.token).content
    assert "<script>" not in text and text.count("<!-- hf_datasel: end of top-25 -->") == 1
    assert "\n# Not a heading" not in text
    assert send(select(rows, TopFraction("s", 0.5)), hub).commit == done.commit


def test_images_of_a_dry_run_are_in_it(hub, tmp_path):
    from datasets import Features, Image, Value
    from PIL import Image as Pictures

    for n in range(4):
        Pictures.new("RGB", (8, 8), (60 * n, 0, 0)).save(tmp_path / f"{n}.png")
    rows = {"prompt": list("abcd"), "completion": list("ABCD"), "s": [4.0, 3.0, 2.0, 1.0]}
    rows["image"] = [str(tmp_path / f"{n}.png") for n in range(4)]
    features = Features(
        {"prompt": Value("string"), "completion": Value("string"), "s": Value("float64"), "image": Image()}
    )
    chosen = select(Dataset.from_dict(rows, features=features), TopFraction("s", 0.5))
    publish(chosen, REPO, "top", plots=False, dry_run=tmp_path / "tree", media_roots=[tmp_path])
    found = load_dataset(str(tmp_path / "tree"), "top", split="train").cast_column("image", Image(decode=False))
    assert all(row["image"]["bytes"] and "/" not in (row["image"]["path"] or "") for row in found)
    send(chosen, hub, config_name="top", media_roots=[tmp_path])
    assert load_dataset(REPO, "top", split="train", token=hub.token)[0]["image"].size == (8, 8)


def test_places_on_this_machine_stay_here(hub, scored, tmp_path):
    specs = [
        {"scorer": "S", "proxy": {"model": "/home/me/proxies/small", "adapter": "../private/lora", "tag": "/think"}}
    ]
    done = send(select(scored, TopFraction("s", 0.25), specs), hub, sources=[Source(str(tmp_path), license="mit")])
    assert done.provenance["scorers"][0]["proxy"] == {"model": "small", "adapter": "lora", "tag": "/think"}
    assert done.provenance["sources"][0]["dataset"] == tmp_path.name
    small = [content.decode(errors="ignore") for content in commits(hub)[-1].files.values()]
    assert not [text for text in small if "/home/me" in text or "../private" in text or str(tmp_path) in text]
