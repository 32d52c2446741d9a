"""Training sets by configuration: the shipped one against the data's README, and those of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotator import formats
from annotator.errors import FormatError, InputError
from annotator.formats.dataset import Dataset
from annotator.skeletons import COCO_17, HALPE_26, MPII_16
from annotator.students import registry
from models.recipe import load_recipe
from tests.models.made import dotted
from workflows.measuring import LAYOUTS
from workflows.training_set import DEFAULT, check_parts, load, main, plan, training_parts


def sources(folder: Path, kind: str, n: int = 3) -> str:
    """A dataset of dotted pictures in FOLDER/KIND.json and FOLDER/KIND, and its lines of a configuration."""
    skeleton = {"coco": COCO_17, "halpe": HALPE_26}[kind]
    images, people = dotted(folder / kind, n, skeleton, source=kind)
    formats.write(folder / f"{kind}.json", Dataset(kind, folder / f"{kind}.json", images, people), kind)
    return f'[[train]]\nname = "{kind}"\nannotations = "{kind}.json"\nimages = "{kind}"\n'


def configured(folder: Path, text: str) -> Path:
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


@pytest.mark.slow
def test_training_takes_the_training_splits_and_the_first_half_of_lsp(data):
    parts = {part.name: part for part in training_parts(data)}
    counts = {name: len(part.people) for name, part in parts.items()}
    assert counts == {"coco": 4699, "coco2017": 370, "mpii": 1509, "lsp": 1000, "lspet": 3925}
    assert {name: part.label_weight for name, part in parts.items() if part.label_weight != 1} == {"lspet": 0.5}
    numbers = [int(name.split(":")[1]) for name in parts["lsp"].people.person_id]
    assert numbers == list(range(1000))


@pytest.mark.slow
def test_training_is_checked_on_well_labelled_people_of_choose(data):
    assert {part.name: len(part.people) for part in check_parts(data)} == {"coco": 147, "mpii": 143}


def test_the_file_that_ships_has_the_papers_weights_and_union():
    settings = load(DEFAULT)
    assert settings.teachers == {"tinypose": 0.45, "tinypose_mpii16": 0.25}
    assert (settings.name, settings.skeletons) == ("union21", ("coco17", "mpii16"))


def test_halpes_file_adds_one_dataset_and_its_keypoints():
    base, more = load(DEFAULT), load(DEFAULT.with_name("halpe.toml"))
    assert more.train[:-1] == base.train and more.train[-1].format == "halpe"
    assert (more.check, more.teachers) == (base.check, base.teachers)
    assert more.skeletons == (*base.skeletons, "halpe26")


def test_the_papers_file_has_its_teachers_and_the_layouts_that_the_tables_take():
    settings = load(DEFAULT.with_name("paper.toml"))
    assert settings.teachers == load_recipe("paper_t")["beta"] == load_recipe("paper_s")["beta"]
    assert set(settings.teachers) <= {entry.card.name for entry in registry.known()}
    assert settings.skeletons == load(DEFAULT).skeletons
    for entry in settings.check:
        annotations, images = (place.removeprefix(f"{entry.name}/") for place in (entry.annotations, entry.images))
        assert (annotations, images) in LAYOUTS[entry.name]


def test_the_papers_file_is_read_from_the_official_layouts(tmp_path):
    for entry in (settings := load(DEFAULT.with_name("paper.toml"))).train:
        skeleton = {"coco": COCO_17, "mpii": MPII_16}[entry.name]
        images, people = dotted(tmp_path / entry.images, 3, skeleton, source=entry.name)
        (tmp_path / entry.annotations).parent.mkdir(parents=True)
        made = Dataset(entry.name, tmp_path / entry.annotations, images, people)
        formats.write(tmp_path / entry.annotations, made, entry.format)
    assert [(one.name, len(one.people)) for one in (entry.part(tmp_path) for entry in settings.train)] == [
        ("coco", 3), ("mpii", 3)]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", (320, 240)),
        ("context = 2.7\n", (576, 432)),
        ("size_hw = [384, 288]\n", (384, 288)),
        ("context = 2.7\nsize_hw = [400, 300]\n", (400, 300)),
    ],
    ids=["as-it-is", "wide", "sharp", "wide-and-soft"],
)
def test_a_set_stores_as_much_around_people_as_its_file_says(tmp_path, text, size):
    config = configured(tmp_path, text + sources(tmp_path, "coco"))
    main(["--config", str(config), "--data", str(tmp_path), "--out", str(tmp_path / "sets")])
    assert json.loads((tmp_path / "sets" / "train" / "set.json").read_text())["size_hw"] == list(size)
    (tmp_path / "more.toml").write_text('base = "mine.toml"\n')
    more, mine = load(tmp_path / "more.toml"), load(config)
    assert (more.context, more.size_hw) == (mine.context, mine.size_hw)


def test_without_a_union_the_student_has_the_keypoints_of_all_datasets(tmp_path):
    made = plan(load(configured(tmp_path, sources(tmp_path, "coco") + sources(tmp_path, "halpe"))), tmp_path)
    assert made.skeleton.keypoints == HALPE_26.keypoints
    assert [(part.name, len(part.people)) for part in made.train] == [("coco", 3), ("halpe", 3)]


@pytest.mark.parametrize(
    ("only", "pictures", "missed"),
    [
        ('["0.png", "[12].png"]', ["0.png", "1.png", "2.png"], []),
        ('["2.png", "9*.png"]', ["2.png"], ["9*.png"]),
        ('"some.txt"', ["1.png"], ["8.png"]),
    ],
    ids=["patterns", "a-pattern-of-none", "a-file"],
)
def test_pictures_are_named_by_patterns_or_by_a_file(tmp_path, only, pictures, missed):
    (tmp_path / "some.txt").write_text("1.png\n8.png\n")
    (part,) = plan(load(configured(tmp_path, sources(tmp_path, "coco") + f"only = {only}")), tmp_path).train
    assert [name.split(":")[1] + ".png" for name in part.people.person_id] == pictures
    assert [problem.record for problem in part.problems] == missed


@pytest.mark.parametrize(
    ("limit", "people"),
    [("min_keypoints = 17", 3), ("min_keypoints = 18", 0), ("min_area = 2543", 3), ("min_area = 2545", 0)],
)
def test_people_with_few_labels_or_too_small_can_be_left_out(tmp_path, limit, people):
    # 17 labels; an area of .53 x 60 x 80 = 2544 is written for a person without a segment.
    (part,) = plan(load(configured(tmp_path, sources(tmp_path, "coco") + limit)), tmp_path).train
    assert len(part.people) == people


def test_what_a_file_holds_that_cannot_be_read_is_told_and_kept(tmp_path, capsys):
    text = sources(tmp_path, "coco")
    (tmp_path / "coco" / "1.png").write_bytes(b"no picture")
    document = json.loads((tmp_path / "coco.json").read_text())
    document["annotations"][2]["keypoints"] = [1, 2]
    (tmp_path / "coco.json").write_text(json.dumps(document))
    command = ["--data", str(tmp_path), "--out", str(tmp_path / "sets"), "--config", str(configured(tmp_path, text))]
    assert main(command) == 0
    assert "1 people, coco 2 (1 left out, 1 records set aside: problems.jsonl), 17 keypoints" in capsys.readouterr().out
    lines = (tmp_path / "sets" / "train" / "problems.jsonl").read_text().splitlines()
    assert [json.loads(line)["pointer"] for line in lines] == ["annotations[2].keypoints", "coco:1"]
    info = json.loads((tmp_path / "sets" / "train" / "set.json").read_text())
    assert (info["skeleton"], info["teachers"]) == ("coco17", [])
    assert not (tmp_path / "sets" / "check").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('skeletons = ["coco"]', r"mine\.toml: skeletons: expected some of coco17, .*, got"),
        ("skeleton = 3", r"mine\.toml: skeleton: expected no such field, got 3"),
        ("[teachers]\ndots = -1", r"mine\.toml: teachers\.dots: expected greater than or equal to 0, got -1"),
        ('base = "none.toml"', r"none\.toml: expected a training set's settings, got no such file"),
    ],
    ids=["skeleton", "field", "weight", "base"],
)
def test_a_wrong_setting_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        load(configured(tmp_path, text))


def test_files_that_are_based_on_each_other_are_refused(tmp_path):
    path = configured(tmp_path, 'base = "other.toml"\n' + sources(tmp_path, "coco"))
    (path.parent / "other.toml").write_text(f'base = "{path.name}"\n')
    with pytest.raises(FormatError, match="expected a base that is not based on this file"):
        load(path)


def test_two_datasets_of_one_name_are_refused_also_where_one_is_the_bases(tmp_path):
    text = sources(tmp_path, "coco")
    configured(tmp_path, text).rename(tmp_path / "base.toml")
    with pytest.raises(FormatError, match=r"mine\.toml: train: expected a name of its own for each dataset"):
        load(configured(tmp_path, 'base = "base.toml"\n' + text))


def test_an_unknown_teacher_is_refused_with_the_known_ones(tmp_path, students):
    settings = load(configured(tmp_path, sources(tmp_path, "coco") + "[teachers]\nnobody = 1"))
    with pytest.raises(InputError, match=r"teachers: expected some of .*tinypose.*, got nobody"):
        plan(settings, tmp_path)
